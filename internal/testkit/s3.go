package testkit

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// S3 starts an S3 server with an empty bucket of that name, until the end of the test, sets credentials for it in the
// environment and gives its endpoint. Without a server the test is skipped, aloud.
func S3(t testing.TB, bucket string) (endpoint string) {
	t.Helper()
	program := os.Getenv("VITFT_S3SERVER")
	if program == "" {
		t.Skip("VITFT_S3SERVER names no S3 server (scripts/s3server.sh makes one)")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	const user, secret = "somebody", "a-secret-that-nobody-sees"
	t.Setenv("AWS_ACCESS_KEY_ID", user)
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, bucket), 0o755); err != nil {
		t.Fatal(err)
	}
	server := exec.Command(program, "--quiet", "--port", address, "--access", user, "--secret", secret,
		"posix", "--sidecar", t.TempDir(), dir)
	server.Stderr = os.Stderr
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Process.Kill()
		server.Wait()
	})
	endpoint = "http://" + address
	for range 200 {
		if answer, err := http.Get(endpoint); err == nil {
			answer.Body.Close()
			return endpoint
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the S3 server does not answer")
	return ""
}

package cloud_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/engine/feature/bucket/buckettest"
)

// s3 starts an S3 server with an empty bucket of that name until the end of the test and gives its endpoint.
func s3(t *testing.T, name string) (endpoint string) {
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
	t.Setenv("AWS_ACCESS_KEY_ID", "somebody")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "a-secret-that-nobody-sees")
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--quiet", "--port", address, "--access", "somebody",
		"--secret", "a-secret-that-nobody-sees", "posix", "--sidecar", t.TempDir(), dir)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	endpoint = "http://" + address
	for range 100 {
		if answer, err := http.Get(endpoint); err == nil {
			answer.Body.Close()
			return endpoint
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the S3 server does not answer")
	return ""
}

func TestS3(t *testing.T) {
	endpoint, n := s3(t, "photos"), 0
	buckettest.Run(t, func(t *testing.T) bucket.Bucket {
		n++
		return open(t, fmt.Sprintf("s3://photos/run/%d?endpoint=%s", n, endpoint))
	})
}

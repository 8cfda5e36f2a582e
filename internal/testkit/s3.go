package testkit

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// S3Server is an S3 server in a process of its own.
type S3Server struct {
	Endpoint string
	Folder   string // where it keeps its buckets, an object a file

	process *exec.Cmd
	ended   chan struct{} // is closed when it has
	args    []string
}

// S3 starts an S3 server with an empty bucket of that name, until the end of the test, sets credentials for it in the
// environment and gives its endpoint. Without a server the test is skipped, aloud.
func S3(t testing.TB, bucket string) (endpoint string) {
	t.Helper()
	return StartS3(t, bucket, t.TempDir()).Endpoint
}

// StartS3 is S3 with the objects in a folder.
func StartS3(t testing.TB, bucket, folder string) *S3Server {
	t.Helper()
	program := os.Getenv("VITFT_S3SERVER")
	if program == "" {
		t.Skip("VITFT_S3SERVER names no S3 server (scripts/s3server.sh makes one)")
	}
	address := FreeAddress(t)
	const user, secret = "somebody", "a-secret-that-nobody-sees"
	t.Setenv("AWS_ACCESS_KEY_ID", user)
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	if err := os.Mkdir(filepath.Join(folder, bucket), 0o755); err != nil {
		t.Fatal(err)
	}
	s := &S3Server{Endpoint: "http://" + address, Folder: folder, args: []string{program, "--quiet", "--port", address,
		"--access", user, "--secret", secret, "posix", folder}}
	t.Cleanup(s.Kill)
	if !s.start(t) { // without extended attributes; a server that is killed in this mode may lose the name of an object
		s.args = slices.Insert(s.args, len(s.args)-1, "--sidecar", t.TempDir())
		s.Start(t)
	}
	return s
}

// Start starts the server, which was killed, and waits until it answers.
func (s *S3Server) Start(t testing.TB) {
	t.Helper()
	if !s.start(t) {
		t.Fatal("the S3 server does not answer")
	}
}

func (s *S3Server) start(t testing.TB) (answers bool) {
	t.Helper()
	s.process = exec.Command(s.args[0], s.args[1:]...)
	s.process.Stderr = os.Stderr
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	s.ended = make(chan struct{})
	go func(p *exec.Cmd, ended chan struct{}) {
		_ = p.Wait()
		close(ended)
	}(s.process, s.ended)
	for range 200 {
		if answer, err := http.Get(s.Endpoint); err == nil {
			answer.Body.Close()
			return true
		}
		select {
		case <-s.ended:
			return false
		case <-time.After(50 * time.Millisecond):
		}
	}
	return false
}

// Kill ends the server at once.
func (s *S3Server) Kill() {
	_ = s.process.Process.Kill()
	<-s.ended
}

// FreeAddress is one on this machine on which nobody listens.
func FreeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

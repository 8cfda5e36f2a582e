package serve_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/vitft/vitft/engine/serve"
)

// A server without a token on this machine's own address answers under this machine's names only: a name of the
// internet that has been given the address 127.0.0.1 would let its pages read the answers.
func TestForeignHosts(t *testing.T) {
	for _, c := range []struct {
		listen string
		o      serve.Options
		served map[string]bool
	}{
		{"127.0.0.1:0", serve.Options{Addr: "my-laptop:8080"}, map[string]bool{
			"localhost": true, "localhost:8080": true, "LocalHost.": true, "vitft.localhost": true, "127.0.0.1": true,
			"127.1.2.3:80": true, "[::1]": true, "[::1]:8080": true, "my-laptop": true, "MY-LAPTOP:9": true,
			"evil.example": false, "evil.example:8080": false, "localhost.evil.example": false,
			"127.0.0.1.nip.io": false, "10.0.0.1": false, "0.0.0.0": false, "evillocalhost": false,
		}},
		{"127.0.0.1:0", serve.Options{Token: "secret"}, map[string]bool{"localhost": true, "evil.example": true}},
		{"0.0.0.0:0", serve.Options{}, map[string]bool{"localhost": true, "evil.example": true}},
	} {
		s := start(t, c.o)
		l, err := net.Listen("tcp", c.listen)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Serve(ctx, l) }()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		for host, served := range c.served {
			for _, path := range []string{"/", "/v1/models", "/healthz", "/nothing"} {
				r, err := http.NewRequest("GET", "http://127.0.0.1:"+port+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Host = host
				r.Header.Set("Authorization", "Bearer "+c.o.Token)
				answer, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				text := read(t, answer)
				if refused := answer.StatusCode == http.StatusMisdirectedRequest; refused == served {
					t.Errorf("on %s, token %q, Host %s, %s: status %d", c.listen, c.o.Token, host, path,
						answer.StatusCode)
				} else if refused && (!strings.Contains(text, host) || !strings.Contains(text, "token")) {
					t.Errorf("%s does not name the host and a cure", text)
				}
			}
		}
		conn, err := net.Dial("tcp", "127.0.0.1:"+port) // HTTP/1.0 without a Host
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		conn.Write([]byte("GET /healthz HTTP/1.0\r\n\r\n"))
		line := make([]byte, 12)
		if _, err := conn.Read(line); err != nil || !strings.HasSuffix(string(line), "200") {
			t.Errorf("without a Host: %q, %v", line, err)
		}
		conn.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

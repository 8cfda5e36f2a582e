package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/internal/userfile"
)

// Serve accepts connections until ctx ends. Then /readyz says so, and for the time of Options.Drain requests are still
// accepted, each the last one of its connection; after that what has been accepted is answered, within Options.Timeout.
// It returns nil if all of it was. The models stay open.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler:           s.handlerFor(l.Addr()),
		ReadHeaderTimeout: min(s.options.Timeout, 10*time.Second),
		ReadTimeout:       s.options.Timeout,
		WriteTimeout:      2*s.options.Timeout + 10*time.Second, // counts from the request's header
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          log.New(notes{s}, "", 0),
		Protocols:         new(http.Protocols),
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(true)
	server.Protocols.SetUnencryptedHTTP2(true) // which is how gRPC comes without TLS
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { stopped <- s.stop(server) })
	var err error
	if s.options.Cert != "" {
		current := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.cert.Load(), nil }
		server.TLSConfig = &tls.Config{GetCertificate: current, MinVersion: tls.VersionTLS12}
		err = server.ServeTLS(l, "", "")
	} else {
		err = server.Serve(l)
	}
	if stop() { // it did not end because of ctx
		return fmt.Errorf("serve on %s: %w", l.Addr(), errors.Join(err, server.Close()))
	}
	return <-stopped
}

func (s *Server) stop(server *http.Server) error {
	s.draining.Store(true)
	s.options.Events.Info("stopping: requests that were accepted are being answered", "images", s.waiting.Load())
	time.Sleep(*s.options.Drain)
	ctx, cancel := context.WithTimeout(context.Background(), 2*s.options.Timeout)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return fmt.Errorf("stop: %d images were still unanswered after %v: %w",
			s.waiting.Load(), 2*s.options.Timeout, errors.Join(err, server.Close()))
	}
	return nil
}

// notes passes on what net/http logs: broken handshakes and the like.
type notes struct{ s *Server }

func (n notes) Write(text []byte) (int, error) {
	n.s.options.Events.Warn(strings.TrimSpace(string(text)))
	return len(text), nil
}

// loadCertificate reads the TLS certificate, if there is to be one, and puts it in the place of the one before.
func (s *Server) loadCertificate() error {
	if s.options.Cert == "" {
		return nil
	}
	chain, err := userfile.Read(s.options.Cert, userfile.Small)
	key, keyErr := userfile.Read(s.options.Key, userfile.Small)
	var pair tls.Certificate
	if err = errors.Join(err, keyErr); err == nil {
		pair, err = tls.X509KeyPair(chain, key)
	}
	if err != nil {
		return fault.Config.Errorf("tls-cert, tls-key: TLS certificate %s with key %s: %w",
			s.options.Cert, s.options.Key, err)
	}
	s.cert.Store(&pair)
	return nil
}

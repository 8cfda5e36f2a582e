package serve_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/vitft/vitft/engine/serve"
	"github.com/vitft/vitft/engine/serve/inferpb"
	"github.com/vitft/vitft/internal/testkit/trained"
)

// certify writes a new self-signed certificate for 127.0.0.1 and its key.
func certify(t *testing.T, cert, key string) *x509.CertPool {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return pool
}

// HTTPS works, for gRPC too, a reload takes the new certificate, and a broken one leaves the old in place.
func TestTLS(t *testing.T) {
	cert, key := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	before := certify(t, cert, key)
	s := start(t, serve.Options{Cert: cert, Key: key})
	ctx, cancel := context.WithCancel(t.Context())
	l, ended := run(t, s, ctx)
	trusts := func(pool *x509.CertPool) bool {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
		defer transport.CloseIdleConnections()
		r, err := (&http.Client{Transport: transport}).Get("https://" + l.Addr().String() + "/v1/models")
		if err != nil {
			return false
		}
		read(t, r)
		return r.StatusCode == 200 && r.ProtoMajor == 2
	}
	if !trusts(before) {
		t.Error("the certificate is not used")
	}
	encrypted := credentials.NewTLS(&tls.Config{RootCAs: before})
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(encrypted))
	if err != nil {
		t.Fatal(err)
	}
	client := inferpb.NewGRPCInferenceServiceClient(conn)
	if _, err := client.ModelInfer(t.Context(), askFor(trained.Photo(0, 1))); err != nil {
		t.Error(err)
	}
	conn.Close()
	after := certify(t, cert, key)
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	if !trusts(after) || trusts(before) {
		t.Error("the new certificate is not used")
	}
	if err := os.WriteFile(cert, []byte("none"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(); err == nil {
		t.Error("a broken certificate is taken")
	}
	if !trusts(after) {
		t.Error("after a failed reload the certificate is gone")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

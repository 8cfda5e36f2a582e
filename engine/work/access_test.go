package work

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/internal/testkit"
)

// authority signs certificates of a test.
type authority struct {
	t    *testing.T
	dir  string
	name string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir(), name: name}
	a.cert, a.key = a.sign(&x509.Certificate{IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign}, 1)
	return a
}

// sign makes a certificate that is valid for so many hours from now, or was until then.
func (a *authority) sign(c *x509.Certificate, hours int) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, c.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: a.name}
	c.NotBefore, c.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(time.Duration(hours)*time.Hour)
	parent, by := c, key
	if a.cert != nil {
		parent, by = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
	if err == nil {
		c, err = x509.ParseCertificate(der)
	}
	if err != nil {
		a.t.Fatal(err)
	}
	return c, key
}

// file is the authority's own certificate.
func (a *authority) file() string { return a.write("ca.pem", "CERTIFICATE", a.cert.Raw) }

func (a *authority) write(name, kind string, der []byte) string {
	return testkit.WriteFile(a.t, filepath.Join(a.dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// pair are the files of a certificate for a host, and of its key.
func (a *authority) pair(name, host string, hours int) (cert, key string) {
	a.t.Helper()
	of := &x509.Certificate{DNSNames: []string{host},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	if ip := net.ParseIP(host); ip != nil {
		of.IPAddresses = []net.IP{ip}
	}
	c, k := a.sign(of, hours)
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.write(name+".pem", "CERTIFICATE", c.Raw), a.write(name+".key", "PRIVATE KEY", der)
}

// nkey is a new NKey: the file of its seed, and its public key.
func nkey(t *testing.T) (file, public string) {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	if public, err = pair.PublicKey(); err != nil {
		t.Fatal(err)
	}
	return testkit.WriteFile(t, filepath.Join(t.TempDir(), "seed.nk"), seed), public
}

// secured is a NATS server that wants what the options say.
func secured(t *testing.T, cert, key, clients string, o *server.Options) *natsServer {
	t.Helper()
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		o.TLS, o.TLSConfig = true, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	}
	if clients != "" {
		o.TLSConfig.ClientCAs = x509.NewCertPool()
		o.TLSConfig.ClientCAs.AppendCertsFromPEM(testkit.ReadFile(t, clients))
		o.TLSConfig.ClientAuth, o.TLSVerify = tls.RequireAndVerifyClientCert, true
	}
	return newServer(t, o)
}

// What keeps this side and the queue apart is named, with what mends it, at once, by who submits and by workers alike.
func TestRefusals(t *testing.T) {
	ours, others := newAuthority(t, "ours"), newAuthority(t, "others")
	cert, key := ours.pair("server", "127.0.0.1", 1)
	oldCert, oldKey := ours.pair("old", "127.0.0.1", -1)
	farCert, farKey := ours.pair("far", "queue.example", 1)
	mine, mineKey := ours.pair("mine", "worker", 1)
	theirs, theirsKey := others.pair("theirs", "worker", 1)
	seed, public := nkey(t)
	otherSeed, otherPublic := nkey(t)

	plain := newServer(t, &server.Options{})
	withToken := newServer(t, &server.Options{Authorization: "right-token"})
	withTLS := secured(t, cert, key, "", &server.Options{})
	expired := secured(t, oldCert, oldKey, "", &server.Options{})
	elsewhere := secured(t, farCert, farKey, "", &server.Options{})
	all := secured(t, cert, key, ours.file(), &server.Options{Nkeys: []*server.NkeyUser{{Nkey: public}}})

	empty := testkit.WriteFile(t, filepath.Join(t.TempDir(), "empty"), nil)
	ca, far := ours.file(), others.file()
	queue := func(q Queue, cert, key string) Queue {
		q.CA, q.Cert, q.Key = ca, cert, key
		return q
	}
	for name, c := range map[string]struct {
		server *natsServer
		queue  Queue
		token  string
		want   []string
	}{
		"no token":                {withToken, Queue{}, "", []string{"wants credentials", TokenVariable}},
		"wrong token":             {withToken, Queue{}, "wrong-token", []string{"the token in " + TokenVariable}},
		"an NKey for a token":     {withToken, Queue{NKey: seed}, "", []string{seed, public}},
		"TLS to plain text":       {plain, Queue{CA: ca}, "", []string{"does not speak TLS", "--queue-ca"}},
		"plain text to TLS":       {withTLS, Queue{}, "", []string{"nobody whom this machine trusts", "--queue-ca"}},
		"wrong CA":                {withTLS, Queue{CA: far}, "", []string{far, "does not vouch"}},
		"expired server":          {expired, Queue{CA: ca}, "", []string{"has expired", "renew the server's"}},
		"another host":            {elsewhere, Queue{CA: ca}, "", []string{"another host", "127.0.0.1"}},
		"no client certificate":   {all, Queue{CA: ca, NKey: seed}, "", []string{"wants a certificate"}},
		"wrong client":            {all, queue(Queue{NKey: seed}, theirs, theirsKey), "", []string{theirs}},
		"expired client":          {all, queue(Queue{}, oldCert, oldKey), "", []string{oldCert, "valid from"}},
		"wrong NKey":              {all, queue(Queue{NKey: otherSeed}, mine, mineKey), "", []string{otherPublic}},
		"certificate, no NKey":    {all, queue(Queue{}, mine, mineKey), "", []string{"more than", mine}},
		"another's key":           {all, queue(Queue{}, mine, theirsKey), "", []string{"queue-key", theirsKey}},
		"no key":                  {all, queue(Queue{}, mine, ""), "", []string{"queue-key"}},
		"an empty seed":           {all, Queue{NKey: empty}, "", []string{empty, "begins with SU"}},
		"an empty CA":             {all, Queue{CA: empty}, "", []string{empty, "no certificate"}},
		"a seed that is not here": {all, Queue{NKey: empty + "x"}, "", []string{empty + "x", "queue-nkey"}},
		"a seed and a token":      {all, Queue{NKey: seed}, "right-token", []string{"one of the two"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(TokenVariable, c.token)
			c.queue.URL = c.server.queue().URL
			connection, err := c.queue.open(t.Context(), "BUCKET", event.Events{})
			if err == nil {
				connection.close()
				t.Fatal("it connects")
			}
			for _, text := range c.want {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q does not say %q", err, text)
				}
			}
			if fault.Of(err) != fault.Config {
				t.Errorf("%v is of kind %q", err, fault.Of(err))
			}
			for _, file := range []string{seed, otherSeed} {
				if secret := string(testkit.ReadFile(t, file)); strings.Contains(err.Error(), secret) {
					t.Errorf("%q has the seed", err)
				}
			}
			if strings.Contains(err.Error(), "right-token") || strings.Contains(err.Error(), "wrong-token") {
				t.Errorf("%q has the token", err)
			}
		})
	}
}

// A server that is set up anew, with another NKey or an expired certificate, ends those who wait for it with the same
// errors.
func TestRefusedLater(t *testing.T) {
	t.Parallel()
	ours := newAuthority(t, "ours")
	cert, key := ours.pair("server", "127.0.0.1", 1)
	oldCert, oldKey := ours.pair("old", "127.0.0.1", -1)
	queue := secured(t, cert, key, "", &server.Options{})
	q := Queue{URL: queue.queue().URL, CA: ours.file(), Patience: time.Second}
	c, err := q.open(t.Context(), "BUCKET", event.Events{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if _, err := c.consumer(t.Context()); err != nil || c.refused() != nil {
		t.Fatal(err, c.refused())
	}
	queue.stop()
	pair, err := tls.LoadX509KeyPair(oldCert, oldKey)
	if err != nil {
		t.Fatal(err)
	}
	queue.options.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	queue.start(t)
	for range 200 {
		if err := c.refused(); err != nil {
			if fault.Of(err) != fault.Config || !strings.Contains(err.Error(), "has expired") {
				t.Error(err)
			}
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("the expired certificate is not said")
}

// Three servers that want a certificate and an NKey do a job; nothing of a credential is in what is said or written.
func TestSecureCluster(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	ours := newAuthority(t, "ours")
	cert, key := ours.pair("server", "127.0.0.1", 1)
	mine, mineKey := ours.pair("mine", "worker", 1)
	seed, public := nkey(t)
	var urls, routes []string
	nodes := make([]*natsServer, 3)
	for range nodes {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", freePort(t)))
	}
	for i := range nodes {
		var port int
		fmt.Sscanf(routes[i], "nats://127.0.0.1:%d", &port)
		nodes[i] = secured(t, cert, key, ours.file(), &server.Options{ServerName: fmt.Sprint("n", i),
			Nkeys:   []*server.NkeyUser{{Nkey: public}},
			Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: port},
			Routes:  server.RoutesFromStr(strings.Join(routes, ","))})
		urls = append(urls, nodes[i].queue().URL)
	}
	q := Queue{URL: strings.Join(urls, ","), CA: ours.file(), Cert: mine, Key: mineKey, NKey: seed,
		Patience: 5 * time.Second}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(ctx, WorkerOptions{Queue: q, Features: feature.Options{Cache: s.cache},
			Device: device.Options{Provider: "cpu"}}, s.events())
	}()
	x, err := s.submit(t.Context(), q)
	if err != nil {
		t.Error(err)
	}
	if n := s.left(x); n != 0 {
		t.Errorf("%d images were not encoded", n)
	}
	status, err := ReadStatus(t.Context(), StatusOptions{Queue: q, Features: feature.Options{Cache: s.cache}})
	if err != nil || len(status.Workers) != 1 {
		t.Errorf("%+v, %v", status, err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	written := []byte(strings.Join(s.said, "\n"))
	written = append(written, encoded(status)...)
	err = filepath.WalkDir(s.cache, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			text, _ := os.ReadFile(path)
			written = append(written, text...)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for _, file := range []string{seed, mineKey} {
		if bytes.Contains(written, bytes.TrimSpace(testkit.ReadFile(t, file))) {
			t.Errorf("the secret of %s was written or said", file)
		}
	}
}

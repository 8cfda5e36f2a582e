package work

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/internal/userfile"
)

// access is what this side shows to the queue, and what it wants to see.
type access struct {
	Queue
	token  string // of the environment
	public string // key of the NKey, which may be shown
	nkey   nats.Option
	tls    *tls.Config
}

// access reads the credentials of the environment and of files.
func (q Queue) access() (a access, err error) {
	a.Queue, a.token = q, os.Getenv(TokenVariable)
	if q.NKey != "" {
		if _, err := userfile.Read(q.NKey, userfile.Small); err != nil {
			return a, fault.Config.Errorf("queue-nkey: %w", err)
		}
		if a.nkey, err = nats.NkeyOptionFromSeed(q.NKey); err != nil {
			return a, fault.Config.Errorf("queue-nkey: %s holds no seed of an NKey, which begins with SU: %w", q.NKey,
				err)
		}
		var o nats.Options
		if err := a.nkey(&o); err != nil {
			return a, err
		}
		a.public = o.Nkey
		if a.token != "" {
			return a, fault.Config.Errorf("queue-nkey: %s is set too, and a server takes one of the two; leave one out",
				TokenVariable)
		}
	}
	if q.CA == "" && q.Cert == "" && q.Key == "" {
		return a, nil
	}
	a.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	if q.CA != "" {
		text, err := userfile.Read(q.CA, userfile.Small)
		if err != nil {
			return a, fault.Config.Errorf("queue-ca: %w", err)
		}
		a.tls.RootCAs = x509.NewCertPool()
		if !a.tls.RootCAs.AppendCertsFromPEM(text) {
			return a, fault.Config.Errorf("queue-ca: %s holds no certificate in PEM form", q.CA)
		}
	}
	if q.Cert == "" && q.Key == "" {
		return a, nil
	}
	pair, err := q.pair()
	a.tls.Certificates = []tls.Certificate{pair}
	return a, err
}

// pair is this side's certificate.
func (q Queue) pair() (pair tls.Certificate, err error) {
	chain, err := userfile.Read(q.Cert, userfile.Small)
	key, keyErr := userfile.Read(q.Key, userfile.Small)
	if err = errors.Join(err, keyErr); err == nil {
		pair, err = tls.X509KeyPair(chain, key)
	}
	if err != nil {
		return pair, fault.Config.Errorf("queue-cert, queue-key: certificate %q with key %q: %w", q.Cert, q.Key, err)
	}
	if from, until := pair.Leaf.NotBefore, pair.Leaf.NotAfter; time.Now().After(until) || time.Now().Before(from) {
		return pair, fault.Config.Errorf("queue-cert: %s is valid from %s until %s, which is not now; renew it", q.Cert,
			from.Format(time.RFC3339), until.Format(time.RFC3339))
	}
	return pair, nil
}

// options are those of every connection.
func (a access) options() []nats.Option {
	o := []nats.Option{nats.Name("vitft"), nats.MaxReconnects(-1), nats.ReconnectWait(time.Second),
		nats.Timeout(10 * time.Second)}
	if a.token != "" {
		o = append(o, nats.Token(a.token))
	}
	if a.nkey != nil {
		o = append(o, a.nkey)
	}
	return o
}

// inside are the options of a connection to the server in this process. Nobody is between, and the server's name need
// not be that of its certificate.
func (a access) inside(open bool) []nats.Option {
	o := a.options()
	if open && a.tls != nil && len(a.tls.Certificates) > 0 {
		o = append(o, nats.Secure(&tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}))
	}
	return o
}

// connect connects to a server elsewhere, or begins to, where none can be reached; why not is then kept in tried. What
// waiting does not mend is an error.
func (a access) connect(tried *atomic.Pointer[error]) (*nats.Conn, error) {
	o := a.options()
	if a.tls != nil {
		o = append(o, nats.Secure(a.tls))
	}
	c, err := nats.Connect(a.URL, o...)
	for try := 1; a.tls != nil && try < 5 && broken(err); try++ { // by a server that had not finished saying why
		time.Sleep(50 * time.Millisecond)
		c, err = nats.Connect(a.URL, o...)
	}
	if err == nil {
		return c, nil
	}
	if refusal := a.refusal(err); refusal != nil {
		return nil, refusal
	}
	keep := func(_ *nats.Conn, err error) { tried.Store(&err) }
	c, err = nats.Connect(a.URL, append(o, nats.RetryOnFailedConnect(true), nats.ReconnectErrHandler(keep))...)
	if err != nil {
		return nil, fault.Config.Errorf("queue %s: %w", a.URL, err)
	}
	return c, nil
}

// broken says whether a connection has ended without a word.
func broken(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// refusal is what an error of connecting says if waiting does not mend it, with what does; nil else.
func (a access) refusal(err error) error {
	if err == nil {
		return nil
	}
	culprit, cure := "", ""
	var remote *net.OpError
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired),
		errors.Is(err, nats.ErrAuthRevoked):
		culprit, cure = a.unknown()
	case errors.Is(err, nats.ErrNkeysNotSupported):
		culprit, cure = "it knows no NKeys, such as that of "+a.NKey+", whose public key is "+a.public,
			"leave out --queue-nkey, and set "+TokenVariable
	case errors.Is(err, nats.ErrSecureConnWanted):
		culprit, cure = "it does not speak TLS", "leave out "+a.tlsKeys()+", or set up TLS on the server"
	case errorAs[x509.UnknownAuthorityError](err) && a.CA != "":
		culprit = "--queue-ca " + a.CA + " does not vouch for its certificate"
		cure = "give the certificate of the authority that has signed it"
	case errorAs[x509.UnknownAuthorityError](err):
		culprit = "nobody whom this machine trusts vouches for its certificate"
		cure = "give --queue-ca with the certificate of the authority that has signed it"
	case errorAs[x509.CertificateInvalidError](err):
		culprit, cure = "its certificate is not valid", "renew the server's certificate, or set this machine's clock"
	case errorAs[x509.HostnameError](err):
		culprit, cure = "its certificate is for another host", "name a host of the certificate in --queue"
	case errors.As(err, &remote) && remote.Op == "remote error" && a.Cert != "":
		culprit = "it does not accept --queue-cert " + a.Cert
		cure = "give one that is signed by the authority that the server trusts"
	case errors.As(err, &remote) && remote.Op == "remote error":
		culprit, cure = "it wants a certificate of this side", "give --queue-cert and --queue-key"
	default:
		return nil
	}
	return fault.Config.Errorf("the queue %s refuses, or is refused: %s (%w); %s", a.URL, culprit, err, cure)
}

// unknown says which of this side's credentials a server does not accept.
func (a access) unknown() (culprit, cure string) {
	switch {
	case a.public != "":
		return "it does not know the NKey of " + a.NKey + ", whose public key is " + a.public,
			"have the server accept that key, or give another --queue-nkey"
	case a.token != "":
		return "it does not accept the token in " + TokenVariable, "set " + TokenVariable + " to the queue's"
	case a.Cert != "":
		return "it wants more than --queue-cert " + a.Cert, "set " + TokenVariable + ", or give --queue-nkey"
	}
	return "it wants credentials", "set " + TokenVariable + " to its token, or give --queue-nkey or --queue-cert"
}

// tlsKeys are the settings that ask for TLS.
func (a access) tlsKeys() string {
	var keys []string
	if a.CA != "" {
		keys = append(keys, "--queue-ca")
	}
	if a.Cert != "" {
		keys = append(keys, "--queue-cert and --queue-key")
	}
	return strings.Join(keys, ", ")
}

func errorAs[E error](err error) bool {
	_, is := errors.AsType[E](err)
	return is
}

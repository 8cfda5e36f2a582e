package serve

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/internal/userfile"
	"github.com/vitft/vitft/vit"
)

// Options say what to serve and within which limits. The zero value of all but Models is right for a small service; the
// defaults stand in Fields.
type Options struct {
	// Models are run folders or model.onnx files, each with the NAME= before it that URLs know it by where that is to
	// differ from the folder's or file's. The first is the one that requests mean who name none.
	Models     []string
	Classifier classify.Options // how to run them; its Events and OnBatch are the server's own

	Addr      string         // for Listen
	Queue     int            // images accepted and not yet answered, at most
	MaxBody   int64          // bytes of a request's body
	MaxImages int            // images of one request
	Timeout   time.Duration  // for reading a request, and again for answering it
	Drain     *time.Duration // how long to go on accepting after the end was announced by /readyz; 0 for not at all

	Token       string // what clients must show, if not ""
	TokenFile   string // the file that holds it
	Cert, Key   string // PEM files for TLS, both or none
	LogRequests bool   // a note for every request

	Version string       // of the program, for clients that ask
	Events  event.Events // what happens; called from many goroutines
}

// Fields declares the settings, those of the Classifier among them.
func (o *Options) Fields() []setting.Field {
	const pixels = "max-pixels"
	shared := slices.DeleteFunc(o.Classifier.Fields(), func(f setting.Field) bool { return f.Key == pixels })
	return slices.Concat([]setting.Field{
		setting.List("model", &o.Models, "run folder or model.onnx, with a NAME= before it if the URL's is to be "+
			"another; again for further models, the first is the default"),
		setting.Text("addr", &o.Addr, "localhost:8080", checkAddr, "address to listen on; :8080 for every network"),
	}, shared, []setting.Field{
		// Strangers send images: what vit.MaxPixels allows takes up to a gigabyte to decode.
		setting.Number(pixels, &o.Classifier.MaxPixels, 50e6, setting.Between(1, vit.MaxPixels),
			"pixels of an image, at most"),
		setting.Number("max-queue", &o.Queue, 128, setting.Between(1, 100_000),
			"images accepted and not yet answered, at most; others get 429"),
		setting.Number("max-body", &o.MaxBody, 32<<20, setting.Between(1, 1<<30), "bytes of a request's body, at most"),
		setting.Number("max-images", &o.MaxImages, 64, setting.Between(1, 100_000), "images of a request, at most"),
		setting.Number("timeout", &o.Timeout, time.Minute, setting.Positive(24*time.Hour),
			"time to receive a request, and again to answer it"),
		setting.Optional("drain", &o.Drain, time.Second, setting.Between(0, time.Hour),
			"how long to go on accepting once /readyz says that the end is near"),
		setting.Text("token", &o.Token, "", nil,
			"what clients must show as Authorization: Bearer TOKEN; better given as VITFT_TOKEN or --token-file"),
		setting.Text("token-file", &o.TokenFile, "", setting.Local, "file with the token"),
		setting.Text("tls-cert", &o.Cert, "", setting.Local, "certificate chain, PEM: serve HTTPS"),
		setting.Text("tls-key", &o.Key, "", setting.Local, "key of the certificate, PEM"),
		setting.Flag("log-requests", &o.LogRequests, "log every request"),
	})
}

// Listen opens Addr, for [Server.Serve]. It is worth doing before [New], which takes longer than finding out that an
// address is taken.
func (o Options) Listen() (net.Listener, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", o.Addr)
	if err != nil {
		return nil, fmt.Errorf("addr: %w; name another in --addr, port 0 is a free one", err)
	}
	return l, nil
}

// check fills in the defaults and reports everything that is wrong.
func (o *Options) check() error {
	if err := setting.Complete(o.Fields()); err != nil {
		return err
	}
	if (o.Cert == "") != (o.Key == "") {
		return fault.Config.Errorf("tls-cert and tls-key: TLS needs both")
	}
	o.MaxImages = min(o.MaxImages, o.Queue)
	if o.TokenFile == "" {
		return nil
	}
	text, err := userfile.Read(o.TokenFile, userfile.Small)
	if err != nil {
		return fault.Config.Errorf("token-file: %w", err)
	}
	if o.Token = strings.TrimSpace(string(text)); o.Token == "" {
		return fault.Config.Errorf("token-file: %s is empty", o.TokenFile)
	}
	return nil
}

func checkAddr(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%w; write HOST:PORT or :PORT", err)
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return fmt.Errorf("%q is no port; write one from 0 to 65535", port)
	}
	return nil
}

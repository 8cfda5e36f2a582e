// Package serve answers over HTTP what is on images: its own small API, the
// Open Inference Protocol v2 that KServe and Triton clients speak, Prometheus
// metrics and a page to drop photos on.
//
// # Basics
//
//	s, err := serve.New(serve.Options{Models: []serve.Model{{Path: "run"}}})
//	l, err := net.Listen("tcp", "localhost:8080")
//	err = s.Serve(ctx, l) // until ctx ends; then answers what it has accepted
//
// [Server.Handler] is for a server of one's own. openapi.json describes every
// route, docs/serve.md how to run it.
//
// # Promises
//
// An image gets the label and the bits that [engine.Classifier] gives it: the
// handlers only carry it there, and images of different requests share the runs
// of the model. At most Queue images are accepted at a time; who comes then is
// told at once, with 429, when to try again. What has been accepted is answered,
// also while models are reloaded and while the server stops.
package serve

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vitft/vitft/engine"
)

// Options says what to serve and within which limits. The zero value of all but
// Models is right for a small service.
type Options struct {
	Models      []Model                  // the first is the one that requests mean who name none
	Classifier  engine.ClassifierOptions // how to run them
	Queue       int                      // images accepted and not yet answered, at most; 128
	MaxBody     int64                    // bytes of a request's body; 32 MiB
	MaxImages   int                      // images of one request; 64
	Timeout     time.Duration            // for reading a request, and again for answering it; 60 s
	Drain       time.Duration            // how long to go on accepting after the end was announced by /readyz; not at all
	Token       string                   // what clients must show, if not ""
	Cert, Key   string                   // PEM files for TLS, both or none
	Version     string                   // of the program, for clients that ask
	LogRequests bool                     // a note for every request
	Events      engine.Events            // what happens; called from many goroutines
}

// Model is a model to serve.
type Model struct {
	Name string // in URLs; "" for that of the run folder or file
	Path string // run folder or model.onnx
}

var modelName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// ParseModel reads NAME=PATH, or PATH alone.
func ParseModel(text string) Model {
	if name, path, ok := strings.Cut(text, "="); ok && modelName.MatchString(name) {
		return Model{name, path}
	}
	return Model{Path: text}
}

func (o *Options) ensureDefaults() error {
	if o.Queue == 0 {
		o.Queue = 128
	}
	if o.MaxBody == 0 {
		o.MaxBody = 32 << 20
	}
	if o.MaxImages == 0 {
		o.MaxImages = 64
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	var faults []error
	bad := func(format string, a ...any) {
		faults = append(faults, fmt.Errorf("%w: "+format, append([]any{engine.ErrConfig}, a...)...))
	}
	if len(o.Models) == 0 {
		bad("model: name a run folder or a model.onnx")
	}
	if o.Queue < 1 {
		bad("queue: %d images are too few", o.Queue)
	}
	if o.MaxBody < 1 {
		bad("max-body: %d bytes are too few", o.MaxBody)
	}
	if o.MaxImages < 1 {
		bad("max-images: %d are too few", o.MaxImages)
	}
	if o.Timeout < 0 {
		bad("timeout: %v is negative", o.Timeout)
	}
	if o.Drain < 0 {
		bad("drain: %v is negative", o.Drain)
	}
	if (o.Cert == "") != (o.Key == "") {
		bad("tls-cert and tls-key: TLS needs both")
	}
	o.MaxImages = min(o.MaxImages, o.Queue)
	return errors.Join(faults...)
}

// Server serves models. It is made by [New].
type Server struct {
	options Options
	models  []*model // in the order of Options.Models
	cert    certificate
	metrics *metrics
	handler http.Handler

	waiting  atomic.Int64 // images accepted and not yet answered
	draining atomic.Bool
}

// New loads the models. Close must be called at the end.
func New(o Options) (*Server, error) {
	if err := o.ensureDefaults(); err != nil {
		return nil, err
	}
	s := &Server{options: o}
	s.metrics = newMetrics(s)
	s.options.Classifier.OnBatch = s.metrics.batch
	if o.Cert != "" {
		if err := s.cert.load(o.Cert, o.Key); err != nil {
			return nil, err
		}
	}
	for _, m := range o.Models {
		if err := s.add(m); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	s.handler = s.routes()
	return s, nil
}

func (s *Server) add(m Model) error {
	if m.Name == "" {
		m.Name = nameOf(m.Path)
	}
	if !modelName.MatchString(m.Name) {
		return fmt.Errorf("%w: model: %q cannot be part of a URL; give the model a name, as in NAME=%s", engine.ErrConfig, m.Name, m.Path)
	}
	if s.model(m.Name) != nil {
		return fmt.Errorf("%w: model: two are called %s; name them, as in NAME=%s", engine.ErrConfig, m.Name, m.Path)
	}
	opened, err := openModel(m, s.options.Classifier)
	if err != nil {
		return err
	}
	s.models = append(s.models, opened)
	s.metrics.loaded(opened)
	return nil
}

func nameOf(path string) string {
	if absolute, err := filepath.Abs(path); err == nil { // "." has a name too
		path = absolute
	}
	return strings.TrimSuffix(filepath.Base(path), ".onnx")
}

// model is the model of that name, nil if there is none.
func (s *Server) model(name string) *model {
	for _, m := range s.models {
		if m.name == name {
			return m
		}
	}
	return nil
}

// Handler answers all routes. Serve uses it; a server of one's own may do so too.
func (s *Server) Handler() http.Handler { return s.handler }

// Reload loads models and the TLS certificate anew from their files while the
// old ones go on answering. What cannot be loaded is left as it was and named in
// the error.
func (s *Server) Reload() error {
	var faults []error
	if s.options.Cert != "" {
		faults = append(faults, s.cert.load(s.options.Cert, s.options.Key))
	}
	for _, m := range s.models {
		err := m.reload(s.options.Classifier)
		s.metrics.reloaded(m, err)
		if err != nil {
			err = fmt.Errorf("model %s is kept as it was: %w", m.name, err)
		}
		faults = append(faults, err)
	}
	debug.FreeOSMemory() // of the files that were read; it is not needed again before the next reload
	return errors.Join(faults...)
}

// Close waits for what is being answered and frees the models.
func (s *Server) Close() error {
	var faults []error
	for _, m := range s.models {
		faults = append(faults, m.close())
	}
	return errors.Join(faults...)
}

func (s *Server) note(level engine.Level, message string, kv ...any) {
	if s.options.Events.Note != nil {
		s.options.Events.Note(level, message, kv...)
	}
}

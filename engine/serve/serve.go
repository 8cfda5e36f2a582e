// Package serve answers over HTTP and gRPC what is on images: its own small API, the inference protocols that KServe,
// Triton and TensorFlow Serving clients speak, Prometheus metrics and a page to drop photos on.
//
// # Basics
//
//	o := serve.Options{Models: []string{"run"}}
//	l, err := o.Listen()
//	s, err := serve.New(o)
//	err = s.Serve(ctx, l) // until ctx ends; then answers what it has accepted
//
// [Server.Handler] is for a server of one's own. openapi.json describes every route, docs/serve.md how to run it.
//
// An image gets the label and the bits that [classify.Classifier] gives it: the handlers only carry it there, and
// images of different requests share the runs of the model. At most Queue images that have arrived are accepted at a
// time; who comes then is told at once, with 429, when to try again. What has been accepted is answered, also while
// models are reloaded and while the server stops.
//
// # Caveats
//
// There is one token for all, and no CORS header, no limit of rates and no virtual host: put a reverse proxy before it
// for those. All models run on the same cores.
package serve

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"runtime/debug"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/engine/fault"
)

// Server serves models. It is made by [New].
type Server struct {
	options Options
	models  []*model // in the order of Options.Models
	cert    atomic.Pointer[tls.Certificate]
	metrics *metrics
	grpc    *grpc.Server
	handler http.Handler

	waiting  atomic.Int64 // images accepted and not yet answered
	bodies   atomic.Int64 // bytes of the bodies of requests not yet answered
	draining atomic.Bool
}

// New loads the models. Close must be called at the end.
func New(o Options) (*Server, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if len(o.Models) == 0 {
		return nil, fault.Config.Errorf("model: name a run folder or a model.onnx")
	}
	s := &Server{options: o}
	s.metrics, s.grpc = newMetrics(s), newGRPC(s)
	s.options.Classifier.Events, s.options.Classifier.OnBatch = o.Events, s.metrics.batch
	if err := s.loadCertificate(); err != nil {
		return nil, err
	}
	for _, text := range o.Models {
		if err := s.add(text); err != nil {
			return nil, err
		}
	}
	classifier := s.classifier()
	for _, m := range s.models {
		if err := m.load(classifier); err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.metrics.loaded(m)
	}
	debug.FreeOSMemory() // of the files that were read; it is not needed again before a reload
	s.handler = s.routes()
	return s, nil
}

// Handler answers all routes, and gRPC where the server speaks HTTP/2. Serve uses it; a server of one's own may do so
// too.
func (s *Server) Handler() http.Handler { return s.handler }

// Reload loads models and the TLS certificate anew from their files while the old ones go on answering. What cannot be
// loaded is left as it was and named in the error.
func (s *Server) Reload() error {
	faults, classifier := []error{s.loadCertificate()}, s.classifier()
	for _, m := range s.models {
		err := m.load(classifier)
		s.metrics.reloaded(m, err)
		if err != nil {
			err = fmt.Errorf("model %s is kept as it was: %w", m.name, err)
		}
		faults = append(faults, err)
	}
	debug.FreeOSMemory()
	return errors.Join(faults...)
}

// Close waits for what is being answered and frees the models.
func (s *Server) Close() error {
	var faults []error
	for _, m := range s.models {
		faults = append(faults, m.close())
	}
	s.grpc.Stop()
	return errors.Join(faults...)
}

var modelName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// classifier says how models are loaded: what those of one backbone have in common is there once. Models that are
// loaded later, and may have other things in common, share nothing with those before them.
func (s *Server) classifier() classify.Options {
	paths := make([]string, len(s.models))
	for i, m := range s.models {
		paths[i] = m.path
	}
	o := s.options.Classifier
	o.Weights = classify.InCommon(paths)
	return o
}

// add makes a place for the model that one of Options.Models names.
func (s *Server) add(text string) error {
	name, path, named := strings.Cut(text, "=")
	if !named || !modelName.MatchString(name) {
		name, path = artifact.NameOf(text), text
	}
	if !modelName.MatchString(name) {
		return fault.Config.Errorf("model: %q cannot be part of a URL; give the model a name, as in NAME=%s",
			name, path)
	}
	if _, err := s.model(name); err == nil {
		return fault.Config.Errorf("model: two are called %s; name them, as in NAME=%s", name, path)
	}
	s.models = append(s.models, &model{name: name, path: path})
	return nil
}

// model is the model of that name.
func (s *Server) model(name string) (*model, error) {
	names := make([]string, len(s.models))
	for i, m := range s.models {
		if m.name == name {
			return m, nil
		}
		names[i] = m.name
	}
	text := fmt.Sprintf("no model %q here; there is %s", name, strings.Join(names, ", "))
	return nil, &failure{http.StatusNotFound, text}
}

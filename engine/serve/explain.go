package serve

import (
	"context"
	"encoding/base64"
	"net/http"
	"slices"

	"github.com/vitft/vitft/engine/explain"
	"github.com/vitft/vitft/internal/par"
)

// explanation answers POST /v1/explain.
type explanation struct {
	Model      string               `json:"model"`
	Name       string               `json:"name,omitempty"`
	Label      string               `json:"label"`
	Confidence float32              `json:"confidence"` // of the class that is explained
	Overlay    string               `json:"overlay"`    // a data: URL of a PNG
	Explained  *explain.Explanation `json:"explained"`
}

// explain says which patches of an image speak for its class, or for the one that is asked about.
func (s *Server) explain(w http.ResponseWriter, r *http.Request) error {
	m := s.models[0]
	query, err := asking(r, "model", "class")
	if err != nil {
		return err
	}
	if name := query.Get("model"); name != "" {
		if m, err = s.model(name); err != nil {
			return err
		}
	}
	if _, err := s.enter(0); err != nil {
		return err
	}
	uploads, err := s.uploads(r)
	switch {
	case err != nil:
		return err
	case len(uploads) > 1:
		return badRequest("%d images; one at a time is explained", len(uploads))
	}
	leave, err := s.enter(1)
	if err != nil {
		return err
	}
	defer leave()
	g, done := m.use()
	defer done()
	p, err := g.ClassifyBytes(r.Context(), uploads[0].Data)
	if err != nil {
		return err
	}
	class := p.Class
	if label := query.Get("class"); label != "" {
		if class = slices.Index(g.Labels(), label); class < 0 {
			return badRequest("class=%s is none of %s", label, m.name)
		}
	}
	e, err := g.explainer(r.Context(), s)
	if err != nil {
		return err
	}
	x, err := e.Explain(r.Context(), uploads[0].Data, class)
	if err != nil {
		return err
	}
	overlay, err := x.Overlay()
	if err != nil {
		return err
	}
	s.metrics.images(m.name, 1, 0)
	return answer(w, http.StatusOK, explanation{m.name, uploads[0].Name, x.Label, p.Probabilities[class],
		"data:image/png;base64," + base64.StdEncoding.EncodeToString(overlay), x})
}

// explainer is loaded when it is first asked for: it has the model's weights once more.
func (g *generation) explainer(ctx context.Context, s *Server) (*explain.Explainer, error) {
	select {
	case g.explaining <- struct{}{}:
		defer func() { <-g.explaining }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if g.explains != nil {
		return g.explains, nil
	}
	o := s.options.Classifier
	open := func() (*explain.Explainer, error) { return explain.Open(g.Info().Path, o) }
	e, err := par.Await(ctx, open, func(e *explain.Explainer) { e.Close() })
	if err != nil {
		return nil, err
	}
	if e.Sum() != g.Info().SHA256 {
		e.Close()
		return nil, &failure{http.StatusConflict, "the model's file is another by now than the one that was loaded; " +
			"have the server load it anew (SIGHUP)"}
	}
	g.explains = e
	return e, nil
}

package serve

import (
	"bytes"
	"embed"
	"mime"
	"net/http"
	"path"
	"time"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
)

//go:embed web openapi.json
var files embed.FS

// policy keeps the page from loading anything from elsewhere, and scripts that are not its own from running in it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; " +
	"connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"

// page serves a file of the page.
func page(name string) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("Referrer-Policy", "no-referrer")
		return file("web/"+name)(w, r)
	}
}

// file serves a file that is in the program.
func file(name string) handler {
	return func(w http.ResponseWriter, _ *http.Request) error {
		text, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
		w.Header().Set("Cache-Control", "no-cache") // the next version of the program has another
		return send(w, http.StatusOK, text)
	}
}

// modelAnswer describes a model.
type modelAnswer struct {
	Name     string    `json:"name"`
	Default  bool      `json:"default"`
	Classes  int       `json:"classes"`
	Dim      int       `json:"dim"`
	Width    int       `json:"width"`
	Height   int       `json:"height"`
	Provider string    `json:"provider"`
	SHA256   string    `json:"sha256"`
	InCommon int64     `json:"bytes_in_common"`
	Loaded   time.Time `json:"loaded"`
}

func (s *Server) describe(m *model, g *generation) modelAnswer {
	i := g.Info()
	return modelAnswer{
		m.name, m == s.models[0], i.Classes, i.Dim, i.Width, i.Height, i.Provider, i.SHA256,
		i.InCommon, g.loaded.UTC().Truncate(time.Second),
	}
}

func (s *Server) listModels(w http.ResponseWriter, _ *http.Request) error {
	all := make([]modelAnswer, len(s.models))
	for i, m := range s.models {
		g, done := m.use()
		all[i] = s.describe(m, g)
		done()
	}
	return answer(w, http.StatusOK, map[string]any{"models": all})
}

func (s *Server) showModel(w http.ResponseWriter, m *model, g *generation) error {
	return answer(w, http.StatusOK, struct {
		modelAnswer
		Ready  bool     `json:"ready"` // which KServe's V1 protocol asks for here
		Labels []string `json:"labels"`
		Card   string   `json:"card"`
	}{s.describe(m, g), true, g.Labels(), g.Info().Card})
}

// showCard answers with the model card as a piece of HTML. Raw HTML in the card is left out, so that a card is safe to
// show.
func showCard(w http.ResponseWriter, m *model, g *generation) error {
	card := []byte(g.Info().Card)
	if len(card) == 0 {
		return &failure{http.StatusNotFound, m.name + " has no model card; a run folder has one"}
	}
	var html bytes.Buffer
	rest, begins := bytes.CutPrefix(card, []byte("---\n"))
	if _, body, ends := bytes.Cut(rest, []byte("\n---\n")); begins && ends { // without the YAML before the text
		card = body
	}
	markdown := goldmark.New(goldmark.WithExtensions(extension.GFM))
	if err := markdown.Convert(card, &html); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	return send(w, http.StatusOK, html.Bytes())
}

package serve_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"image/png"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/vitft/vitft/engine/serve"
	"github.com/vitft/vitft/internal/testkit/browser"
	"github.com/vitft/vitft/internal/testkit/trained"
)

type explained struct {
	Model, Label, Overlay string
	Confidence            float64
	Explained             struct {
		Method, Label string
		Logit         float64
		Patch         int
		Grid          [][]float64
	}
}

// An image's class, or another that is asked about, is explained within the limits of classification.
func TestExplain(t *testing.T) {
	url := listen(t, start(t, serve.Options{MaxBody: 1 << 20})) + "/v1/explain"
	ask := func(query string) (e explained) {
		t.Helper()
		r, text := post(t, url+query, "image/jpeg", bytes.NewReader(trained.Photo(1, 50)))
		if err := json.Unmarshal([]byte(text), &e); err != nil || r.StatusCode != 200 {
			t.Fatalf("%d %v: %s", r.StatusCode, err, text)
		}
		return e
	}
	e := ask("")
	content, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(e.Overlay, "data:image/png;base64,"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := png.Decode(bytes.NewReader(content)); err != nil || e.Label != "down" || e.Model != "stripes" ||
		e.Explained.Method != "integrated gradients" || len(e.Explained.Grid) < 4 || e.Confidence < 0.5 {
		t.Errorf("%v, %+v", err, e)
	}
	if other := ask("?class=across&model=stripes"); other.Label != "across" ||
		other.Explained.Logit >= e.Explained.Logit || other.Confidence >= e.Confidence {
		t.Errorf("of the other class %+v", other)
	}
	kind, two := form(t, "a.jpg", "x", "b.jpg", "y")
	for _, x := range []struct {
		query, kind, body string
		status            int
		says              string
	}{
		{"?class=nothing", "image/jpeg", string(trained.Photo(1, 50)), 400, "class=nothing"},
		{"?model=nothing", "image/jpeg", "x", 404, "nothing"},
		{"", "image/jpeg", "no photo", 422, "unknown format"},
		{"", "image/jpeg", "", 400, "no image"},
		{"", kind, string(two), 400, "2 images"},
		{"", "image/jpeg", strings.Repeat("x", 2<<20), 413, "larger"},
	} {
		if r, text := post(t, url+x.query, x.kind, strings.NewReader(x.body)); r.StatusCode != x.status ||
			!strings.Contains(text, x.says) {
			t.Errorf("%s: %d %s, want %d with %q", x.query, r.StatusCode, text, x.status, x.says)
		}
	}
}

// A model whose file was exchanged is not explained by the new one; loaded anew, it is.
func TestExplainAfterExchange(t *testing.T) {
	folder(t, "across", "down") // skips where there is no runtime
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	write := func(labels ...string) {
		t.Helper()
		model, err := trained.Model(labels...)
		if err == nil {
			err = os.WriteFile(path, model, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write("a", "b")
	s := start(t, serve.Options{Models: []string{path}})
	url := listen(t, s) + "/v1/explain"
	write("c", "d")
	r, text := post(t, url, "image/jpeg", bytes.NewReader(trained.Photo(1, 50)))
	if r.StatusCode != http.StatusConflict {
		t.Errorf("%d %s", r.StatusCode, text)
	}
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	if r, text := post(t, url, "image/jpeg", bytes.NewReader(trained.Photo(1, 50))); r.StatusCode != 200 ||
		!strings.Contains(text, `"label":"d"`) {
		t.Errorf("%d %s", r.StatusCode, text)
	}
}

// The button of a card shows the patches in the photo's place, and the photo again; axe finds nothing on the page.
func testWhy(t *testing.T, ctx context.Context) {
	url := listen(t, start(t, serve.Options{}))
	p := open(t, ctx, url)
	p.Do(chromedp.SetUploadFiles(chromedp.CSS("#files"), write(t, "a.jpg", "broken.jpg")))
	p.Wait(settled(2))
	p.Click("#cards .why")
	p.Wait(`document.querySelector('#cards img[src^="data:image/png"]')?.naturalWidth >= 224 &&
		document.querySelector('.why').getAttribute('aria-pressed') === 'true'`)
	p.Named()
	p.Fits()
	p.Shot("serve-narrow", 390)
	p.Shot("serve", 1000)
	p.Dark(true)
	p.Shot("serve-dark", 1000)
	p.Dark(false)
	t.Run("axe", func(t *testing.T) { p.Clean(browser.Axe(t)) })
	p.Click("#cards .why")
	p.Wait(`!document.querySelector('#cards img[src^="data:image/png"]') &&
		document.querySelector('#cards img').src.startsWith('blob:')`)
	p.Calm("status of 422")
}

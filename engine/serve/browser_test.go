package serve_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/browser"
	"github.com/vitft/vitft/internal/testkit/trained"
)

// tab is a tab with the page.
type tab struct {
	*browser.Tab
	t *testing.T
}

// ready is true when the page has its model, settled when it has n photos and is done with them.
const ready = `document.querySelector('main').checkVisibility() && document.title !== 'Classify photos – vitft'`

func settled(n int) string {
	return fmt.Sprintf(
		`[...document.querySelectorAll('#cards > li')].filter(li => li.dataset.state !== 'waiting').length === %d`, n)
}

// open opens the page and waits for its model.
func open(t *testing.T, ctx context.Context, url string) *tab {
	t.Helper()
	p := newTab(t, ctx, url)
	p.Wait(ready)
	return p
}

func newTab(t *testing.T, ctx context.Context, url string) *tab {
	t.Helper()
	return &tab{browser.Open(t, ctx, url), t}
}

// card is what the page shows of a photo; a row is label, percentage and width of the bar.
type card struct {
	Name, State, Error string
	Rows               []string
}

func (p *tab) cards() []card {
	p.t.Helper()
	return browser.Eval[[]card](p.Tab, `[...document.querySelectorAll('#cards > li')].map(li => ({
		Name: li.querySelector('.name span').textContent,
		State: li.dataset.state,
		Error: li.querySelector('.bad')?.textContent ?? '',
		Rows: [...li.querySelectorAll('.top > li')].map(row => row.querySelector('.label').textContent + ' ' +
			row.querySelector('.n').textContent + ' ' +
			parseFloat(row.querySelector('.bar span').style.width).toFixed(1)),
	}))`)
}

func (p *tab) hasCards(want ...card) {
	p.t.Helper()
	if got := p.cards(); !slices.EqualFunc(got, want, func(a, b card) bool {
		return a.Name == b.Name && a.State == b.State && a.Error == b.Error && slices.Equal(a.Rows, b.Rows)
	}) {
		p.t.Errorf("the page shows %+q, want %+q", got, want)
	}
}

// --- what the API says

type apiAnswer struct {
	Results []struct {
		Label      string      `json:"label"`
		Confidence json.Number `json:"confidence"`
		Top        []struct {
			Label      string      `json:"label"`
			Confidence json.Number `json:"confidence"`
		} `json:"top"`
		Error string `json:"error"`
	} `json:"results"`
}

func ask(t *testing.T, url, file string) (a apiAnswer) {
	t.Helper()
	base, query, _ := strings.Cut(url, "?")
	_, text := post(t, base+"/v1/classify?"+query, "image/jpeg", strings.NewReader(string(testkit.ReadFile(t, file))))
	if err := json.Unmarshal([]byte(text), &a); err != nil || len(a.Results) != 1 {
		t.Fatalf("%v: %s", err, text)
	}
	return a
}

// expected is the cards that files should get, by what the API says of them.
func expected(t *testing.T, url string, files ...string) (cards []card) {
	t.Helper()
	for _, file := range files {
		r := ask(t, url, file).Results[0]
		c := card{Name: filepath.Base(file), State: "done", Error: r.Error}
		if r.Error != "" {
			c.State = "failed"
		}
		for _, s := range r.Top {
			v, err := s.Confidence.Float64()
			if err != nil {
				t.Fatal(err)
			}
			c.Rows = append(c.Rows, fmt.Sprintf("%s %.1f\u00a0%% %.1f", s.Label, 100*v, 100*v))
		}
		cards = append(cards, c)
	}
	return cards
}

// write writes photos of both classes with these names; broken.jpg is none.
func write(t *testing.T, names ...string) (files []string) {
	t.Helper()
	dir := t.TempDir()
	for i, name := range names {
		data := trained.Photo(i%2, uint64(100+i))
		if name == "broken.jpg" {
			data = []byte("no photo")
		}
		files = append(files, testkit.WriteFile(t, filepath.Join(dir, name), data))
	}
	return files
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	for text, v := range map[string]*any{a: &x, b: &y} {
		if err := json.Unmarshal([]byte(text), v); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
	}
	again := func(v any) string { text, _ := json.Marshal(v); return string(text) }
	return again(x) == again(y)
}

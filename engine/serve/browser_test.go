package serve_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/internal/testkit/trained"
)

// startChromium starts a browser for the test, or skips it aloud.
func startChromium(t *testing.T) context.Context {
	t.Helper()
	ort.Need(t)
	var path string
	for _, name := range []string{os.Getenv("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("Chromium is missing: install it (scripts/chromium.sh), or name it in CHROMIUM")
	}
	options := append(
		slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), // a new profile, no sync, no background networking
		chromedp.ExecPath(path), chromedp.Flag("headless", "new"), chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	return ctx
}

// tab is a tab with the page, 360 pixels wide.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	troubles []string // what the browser complains about
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
	p.wait(ready)
	return p
}

func newTab(t *testing.T, ctx context.Context, url string) *tab {
	t.Helper()
	p := &tab{t: t}
	trouble := func(text string) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.troubles = append(p.troubles, text)
	}
	ctx, cancel := chromedp.NewContext(ctx, chromedp.WithListener(func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			text := e.ExceptionDetails.Text
			if x := e.ExceptionDetails.Exception; x != nil {
				text += " " + x.Description
			}
			trouble(text)
		case *runtime.EventConsoleAPICalled:
			trouble(fmt.Sprintf("console.%s", e.Type))
		case *cdplog.EventEntryAdded: // violations of the Content-Security-Policy, too
			trouble(e.Entry.Text)
		case *network.EventRequestWillBeSent:
			u := e.Request.URL
			if !strings.HasPrefix(u, url+"/") && !strings.HasPrefix(u, "blob:") && !strings.HasPrefix(u, "data:") {
				trouble("a request to " + u)
			}
		}
	}))
	t.Cleanup(cancel)
	p.ctx, cancel = context.WithTimeout(ctx, 3*pageTimeout)
	t.Cleanup(cancel)
	if err := chromedp.Do(p.ctx); err != nil { // the tab lives as long as the context that opens it
		t.Fatal(err)
	}
	p.do(chromedp.EmulateViewport(360, 740), chromedp.Navigate(url))
	return p
}

func (p *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, pageTimeout)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.t.Fatalf("%v (troubles: %q)", err, p.troubles)
	}
}

func (p *tab) click(selector string) {
	p.t.Helper()
	p.do(chromedp.Click(chromedp.CSS(selector)))
}

// eval is the value of a JavaScript expression. (What waits inside the page, as chromedp.Poll does, the page's policy
// forbids: it makes code of text.)
func eval[T any](p *tab, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, pageTimeout)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// wait waits until a JavaScript expression is true.
func (p *tab) wait(condition string) {
	p.t.Helper()
	for begin := time.Now(); !eval[bool](p, "!!("+condition+")"); time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > pageTimeout {
			p.t.Fatalf("still not %s after %v; the page: %s; troubles: %q",
				condition, pageTimeout, p.text("body"), p.troubles)
		}
	}
}

func (p *tab) text(selector string) string {
	p.t.Helper()
	return eval[string](p, fmt.Sprintf("document.querySelector(%q).textContent", selector))
}

func (p *tab) visible(selector string) bool {
	p.t.Helper()
	return eval[bool](p, fmt.Sprintf("document.querySelector(%q).checkVisibility()", selector))
}

// calm fails if the browser complained about anything else than expected.
func (p *tab) calm(expected ...string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, text := range p.troubles {
		if !slices.ContainsFunc(expected, func(e string) bool { return strings.Contains(text, e) }) {
			p.t.Errorf("the browser complains: %s", text)
		}
	}
}

// fits fails if the page is wider than a narrow screen.
func (p *tab) fits() {
	p.t.Helper()
	if wide := eval[int](p, `document.documentElement.scrollWidth`); wide > 360 {
		p.t.Errorf("on a screen of 360 pixels the page is %d wide", wide)
	}
}

// named fails if something to use has no name for those who do not see it.
func (p *tab) named() {
	p.t.Helper()
	tree, err := chromedp.Call(p.ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	if err != nil {
		p.t.Fatal(err)
	}
	roles := []string{`"button"`, `"link"`, `"textbox"`, `"searchbox"`, `"combobox"`, `"progressbar"`}
	for _, n := range tree.Nodes {
		if n.Ignored || n.Role == nil || !slices.Contains(roles, string(n.Role.Value)) {
			continue
		}
		if n.Name == nil || string(n.Name.Value) == `""` {
			p.t.Errorf("a %s has no name", n.Role.Value)
		}
	}
}

// card is what the page shows of a photo; a row is label, percentage and width of the bar.
type card struct {
	Name, State, Error string
	Rows               []string
}

func (p *tab) cards() []card {
	p.t.Helper()
	return eval[[]card](p, `[...document.querySelectorAll('#cards > li')].map(li => ({
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

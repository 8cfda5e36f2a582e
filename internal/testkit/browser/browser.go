// Package browser has pages looked at by a real browser in tests.
package browser

import (
	"context"
	"fmt"
	"os"
	"os/exec"
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
)

// Timeout is how long anything on a page may take, on a busy machine.
const Timeout = 60 * time.Second

// Width is that of a narrow screen.
const Width = 360

// Start starts a browser for the test, or skips it aloud.
func Start(t testing.TB) context.Context {
	t.Helper()
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

// Tab is a tab with a page, 360 pixels wide.
type Tab struct {
	t   testing.TB
	Ctx context.Context

	mu       sync.Mutex
	troubles []string // what the browser complains about
}

// Open opens a page.
func Open(t testing.TB, ctx context.Context, url string) *Tab {
	t.Helper()
	p := &Tab{t: t}
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
			if u != url && !strings.HasPrefix(u, url+"/") && !strings.HasPrefix(u, "blob:") &&
				!strings.HasPrefix(u, "data:") {
				trouble("a request to " + u)
			}
		}
	}))
	t.Cleanup(cancel)
	p.Ctx, cancel = context.WithTimeout(ctx, 3*Timeout)
	t.Cleanup(cancel)
	if err := chromedp.Do(p.Ctx); err != nil { // the tab lives as long as the context that opens it
		t.Fatal(err)
	}
	p.Do(chromedp.EmulateViewport(Width, 740), chromedp.Navigate(url))
	return p
}

func (p *Tab) Do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.Ctx, Timeout)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.t.Fatalf("%v (troubles: %q)", err, p.troubles)
	}
}

func (p *Tab) Click(selector string) {
	p.t.Helper()
	p.Do(chromedp.Click(chromedp.CSS(selector)))
}

// Eval is the value of a JavaScript expression. (What waits inside the page, as chromedp.Poll does, the page's policy
// forbids: it makes code of text.)
func Eval[T any](p *Tab, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.Ctx, Timeout)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// Wait waits until a JavaScript expression is true.
func (p *Tab) Wait(condition string) {
	p.t.Helper()
	for begin := time.Now(); !Eval[bool](p, "!!("+condition+")"); time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > Timeout {
			p.t.Fatalf("still not %s after %v; the page: %.3000s; troubles: %q",
				condition, Timeout, p.Text("body"), p.troubles)
		}
	}
}

func (p *Tab) Text(selector string) string {
	p.t.Helper()
	return Eval[string](p, fmt.Sprintf("document.querySelector(%q).textContent", selector))
}

func (p *Tab) Visible(selector string) bool {
	p.t.Helper()
	return Eval[bool](p, fmt.Sprintf("document.querySelector(%q).checkVisibility()", selector))
}

// Calm fails if the browser complained about anything else than expected.
func (p *Tab) Calm(expected ...string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, text := range p.troubles {
		if !slices.ContainsFunc(expected, func(e string) bool { return strings.Contains(text, e) }) {
			p.t.Errorf("the browser complains: %s", text)
		}
	}
}

// Fits fails if the page is wider than a narrow screen.
func (p *Tab) Fits() {
	p.t.Helper()
	if wide := Eval[int](p, `document.documentElement.scrollWidth`); wide > Width {
		p.t.Errorf("on a screen of %d pixels the page is %d wide", Width, wide)
	}
}

// Named fails if something to use has no name for those who do not see it.
func (p *Tab) Named() {
	p.t.Helper()
	tree, err := chromedp.Call(p.Ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
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

package serve_test

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"

	"github.com/vitft/vitft/engine/internal/csvtable"
	"github.com/vitft/vitft/engine/serve"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/browser"
)

// CSV and JSON have what the API said, names and all.
func testResultsTakenAway(t *testing.T, ctx context.Context) {
	url := listen(t, start(t, serve.Options{}))
	files := write(t, `a "b", c.jpg`, "=1+1.jpg", "broken.jpg", "two\nlines.jpg")
	p := open(t, ctx, url)
	p.Do(chromedp.SetUploadFiles(chromedp.CSS("#files"), files))
	p.Wait(settled(4))

	dir := t.TempDir()
	allow := cdpbrowser.SetDownloadBehaviorParams{Behavior: cdpbrowser.SetDownloadBehaviorBehaviorAllow,
		DownloadPath: dir}
	if _, err := chromedp.CallBrowser(p.Ctx, cdpbrowser.SetDownloadBehavior, allow); err != nil {
		t.Fatal(err)
	}
	p.Click("#csv")
	path := filepath.Join(dir, "stripes.csv")
	for p.Ctx.Err() == nil {
		if _, err := os.Stat(path); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	text := string(testkit.ReadFile(t, path))
	got, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	want := [][]string{{"name", "label", "confidence", "label_2", "confidence_2", "error"}}
	var results []any
	for _, file := range files {
		a := ask(t, url, file)
		r, name := a.Results[0], filepath.Base(file)
		if r.Error != "" {
			want = append(want, []string{name, "", "", "", "", r.Error})
			results = append(results, map[string]any{"name": name, "error": r.Error})
			continue
		}
		row := []string{name}
		for _, s := range r.Top {
			row = append(row, s.Label, s.Confidence.String())
		}
		want = append(want, append(row, ""))
		results = append(results, map[string]any{
			"name": name, "label": r.Label, "confidence": r.Confidence, "top": r.Top,
		})
	}
	for _, row := range got {
		for i := range row {
			row[i] = csvtable.Unguard(row[i])
		}
	}
	if !strings.Contains(text, "\n'=1+1.jpg,") {
		t.Errorf("a spreadsheet would compute a name of %q", text)
	}
	if err != nil || !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("the CSV has %q (%v), want %q", got, err, want)
	}
	if strings.Count(text, "\r\n") != 5 {
		t.Errorf("the lines of the CSV do not end as RFC 4180 has it: %q", text)
	}

	wantJSON, err := json.Marshal(map[string]any{"model": "stripes", "results": results})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ name, prepare string }{
		{"clipboard", `navigator.clipboard.writeText = async text => { window.copied = text; }`},
		{"over plain HTTP", `Object.defineProperty(navigator, 'clipboard', { value: undefined });
			document.addEventListener('copy', () => { window.copied = document.activeElement.value; })`},
	} {
		browser.Eval[chromedp.Void](p.Tab, "window.copied = ''; "+x.prepare)
		p.Click("#copy")
		p.Wait(`window.copied`)
		if got := browser.Eval[string](p.Tab, `JSON.stringify(JSON.parse(window.copied))`); !sameJSON(t, got, string(wantJSON)) {
			t.Errorf("%s: JSON is %s, want %s", x.name, got, wantJSON)
		}
	}
	p.Calm("status of 422")
}

// Two hundred photos are sent a few at a time, keep their order, and can go.
func testManyPhotos(t *testing.T, ctx context.Context) {
	handler := start(t, serve.Options{}).Handler()
	var now, most, asked atomic.Int64
	measured := make(chan struct{}) // the cards, still without results
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			asked.Add(1)
			n := now.Add(1)
			defer now.Add(-1)
			select {
			case <-measured:
			case <-r.Context().Done():
			}
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	names := make([]string, 200)
	for i := range names {
		names[i] = fmt.Sprintf("%d.jpg", i)
	}
	p := open(t, ctx, server.URL)
	browser.Eval[chromedp.Void](p.Tab, `window.revoked = 0; const revoke = URL.revokeObjectURL;
		URL.revokeObjectURL = url => { window.revoked++; revoke.call(URL, url); }; undefined`)
	p.Do(chromedp.SetUploadFiles(chromedp.CSS("#files"), write(t, names...)))
	p.Wait(`document.querySelectorAll('#cards > li').length === 200`)
	const places = `JSON.stringify([...document.querySelectorAll('#cards > li')].map(li => li.getBoundingClientRect()))`
	before := browser.Eval[string](p.Tab, places)
	close(measured)
	p.Wait(settled(200))
	var got []string
	for _, c := range p.cards() {
		if c.State != "done" {
			t.Errorf("%+v", c)
		}
		got = append(got, c.Name)
	}
	if !slices.Equal(got, names) {
		t.Errorf("the cards are in the order %q", got)
	}
	if most.Load() > 4 || asked.Load() != 200 {
		t.Errorf("%d requests, %d at a time, want 200, at most 4", asked.Load(), most.Load())
	}
	if after := browser.Eval[string](p.Tab, places); after != before {
		t.Errorf("results move what is on the page: the cards were at %.200s…, are at %.200s…", before, after)
	}
	p.Click("#cards > li:nth-child(2) button")
	p.Wait(`document.querySelectorAll('#cards > li').length === 199 && window.revoked === 1`)
	if got := p.Text("#cards > li:nth-child(2) .name span"); got != "2.jpg" {
		t.Errorf("after the second card is removed, %q is there", got)
	}
	p.Click("#clear")
	p.Wait(`document.querySelectorAll('#cards > li').length === 0 && window.revoked === 200 &&
		!document.getElementById('results').checkVisibility()`)
	p.Calm()
}

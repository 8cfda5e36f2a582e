package serve_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"github.com/vitft/vitft/engine/serve"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/browser"
	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/internal/testkit/trained"
)

// The page does in a real browser what it is for.
func TestPage(t *testing.T) {
	ort.Need(t)
	ctx := browser.Start(t)
	t.Run("photos", func(t *testing.T) { testPhotos(t, ctx) })
	t.Run("why", func(t *testing.T) { testWhy(t, ctx) })
	t.Run("drop and paste", func(t *testing.T) { testDropAndPaste(t, ctx) })
	t.Run("about the model", func(t *testing.T) { testAboutTheModel(t, ctx) })
	t.Run("models", func(t *testing.T) { testModels(t, ctx) })
	t.Run("token", func(t *testing.T) { testToken(t, ctx) })
	t.Run("busy server", func(t *testing.T) { testBusyServer(t, ctx) })
	t.Run("results taken away", func(t *testing.T) { testResultsTakenAway(t, ctx) })
	t.Run("many photos", func(t *testing.T) { testManyPhotos(t, ctx) })
}

// Chosen files get cards in their order with what the API says of them; one that is no photo shows why and disturbs no
// other.
func testPhotos(t *testing.T, ctx context.Context) {
	url := listen(t, start(t, serve.Options{}))
	names := []string{"b.jpg", "a.jpg", "broken.jpg", "<i>c&amp;.jpg", "wide, \"quoted\".jpg"}
	files := write(t, names...)
	p := open(t, ctx, url)
	p.Do(chromedp.SetUploadFiles(chromedp.CSS("#files"), files))
	p.Wait(settled(5))
	p.hasCards(expected(t, url, files...)...)
	if got := p.Text("#count"); got != "5 photos, 1 failed" {
		t.Errorf("the count is %q", got)
	}
	if got := p.Text("#said"); got != "5 photos, 1 failed: finished" {
		t.Errorf("a screen reader hears %q", got)
	}
	p.Fits()
	p.Named()
	p.Calm("status of 422")
}

// Files, folders and the clipboard are ways in, too.
func testDropAndPaste(t *testing.T, ctx context.Context) {
	url := listen(t, start(t, serve.Options{}))
	files := write(t, "1.jpg", "2.jpg", "broken.jpg", "pasted.jpg")
	p := open(t, ctx, url)
	var made []string
	for _, file := range files {
		made = append(made, fmt.Sprintf(
			"new File([Uint8Array.from(atob('%s'), c => c.charCodeAt(0))], %q, {type: 'image/jpeg'})",
			base64.StdEncoding.EncodeToString(testkit.ReadFile(t, file)), filepath.Base(file)))
	}
	transfer := func(files ...string) string {
		return "const data = new DataTransfer(); for (const f of [" + strings.Join(files, ",") + "]) data.items.add(f);"
	}
	dragged := browser.Eval[bool](p.Tab, `(() => {`+transfer(made[:3]...)+`
		const send = type => document.body.dispatchEvent(
			new DragEvent(type, {dataTransfer: data, bubbles: true, cancelable: true}));
		send('dragover');
		const shown = document.body.classList.contains('dragging');
		send('drop');
		return shown && !document.body.classList.contains('dragging');
	})()`)
	if !dragged {
		t.Error("the page does not show that files can be dropped, or goes on showing it")
	}
	p.Wait(settled(3))
	p.hasCards(expected(t, url, files[:3]...)...)
	browser.Eval[bool](p.Tab, `(() => {`+transfer(made[3])+`
		return document.body.dispatchEvent(
			new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true}));
	})()`)
	p.Wait(settled(4))
	p.hasCards(expected(t, url, files...)...)

	p.Click("#clear")
	folder := filepath.Join(t.TempDir(), "trip")
	// Notes are left out, 9 comes before 10.
	for _, name := range []string{"10.jpg", "9.jpg", "notes.txt", "beach/1.jpg"} {
		testkit.WriteFile(t, filepath.Join(folder, name), trained.Photo(0, 1))
	}
	for _, kind := range []input.DispatchDragEventType{"dragEnter", "dragOver", "drop"} {
		_, err := chromedp.Call(p.Ctx, input.DispatchDragEvent, input.DispatchDragEventParams{
			Type: kind, X: 100, Y: 100,
			Data: &input.DragData{Items: []*input.DragDataItem{}, Files: []string{folder}, DragOperationsMask: 1},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	p.Wait(settled(3))
	var names []string
	for _, c := range p.cards() {
		names = append(names, c.Name)
	}
	if want := []string{"trip/9.jpg", "trip/10.jpg", "trip/beach/1.jpg"}; !slices.Equal(names, want) {
		t.Errorf("a dropped folder gives %q, want %q", names, want)
	}
	p.Calm("status of 422")
}

// The page shows the model card, the labels and how to ask without it.
func testAboutTheModel(t *testing.T, ctx context.Context) {
	url := listen(t, start(t, serve.Options{}))
	p := open(t, ctx, url)
	if got := p.Text("#facts"); got != "stripes · 2 classes · 28 × 28 pixels · cpu" {
		t.Errorf("the model is described as %q", got)
	}
	if p.Visible("#choice") {
		t.Error("there is one model, and still a choice")
	}
	p.Click("#carded summary")
	p.Wait(`document.querySelector('#card h1')?.checkVisibility()`)
	card := p.Text("#card")
	if !strings.Contains(card, "Tells 2 classes of images apart") || strings.Contains(card, "pipeline_tag") {
		t.Errorf("the model card is\n%s", card)
	}
	if browser.Eval[bool](p.Tab, `[...document.querySelectorAll('#card a')].some(a => a.target !== '_blank')`) {
		t.Error("a link of the model card leads away from the results")
	}
	p.Fits()
	p.Click(".about details:first-child summary")
	p.Do(chromedp.SendKeys(chromedp.CSS("#filter"), "OWN"))
	p.Wait(`document.getElementById('matching').textContent === '1 of 2 labels'`)
	if got := p.Text("#labels"); got != "down" {
		t.Errorf("the filter leaves %q", got)
	}
	p.Click(".about details:last-child summary")
	p.Wait(`document.getElementById('curl').checkVisibility()`)
	if got, want := p.Text("#curl"), "curl -F image=@photo.jpg '"+url+"/v1/classify'"; got != want {
		t.Errorf("the command line is %q, want %q", got, want)
	}
	p.Fits()
	p.Named()
	p.Calm()
}

// Another model classifies anew what is there. A single file has no card.
func testModels(t *testing.T, ctx context.Context) {
	url := listen(t, start(t, serve.Options{Models: []string{
		"stripes=" + folder(t, "across", "down"), "other=" + filepath.Join(folder(t, "left", "right"), "model.onnx"),
	}}))
	files := write(t, "1.jpg", "2.jpg")
	p := open(t, ctx, url)
	p.Do(chromedp.SetUploadFiles(chromedp.CSS("#files"), files))
	p.Wait(settled(2))
	p.hasCards(expected(t, url, files...)...)
	if !p.Visible("#carded summary") {
		t.Error("the model card of a run cannot be opened")
	}
	p.Do(chromedp.SendKeys(chromedp.CSS("#models"), "o"))
	p.Wait(`document.title.startsWith('other') && ` + settled(2))
	p.hasCards(expected(t, url+"?model=other", files...)...)
	if p.Visible("#carded summary") {
		t.Error("a model without a card offers one")
	}
	if got, want := p.Text("#curl"), "curl -F image=@photo.jpg '"+url+"/v1/classify?model=other'"; got != want {
		t.Errorf("the command line is %q, want %q", got, want)
	}
	p.Calm()
}

// A server with a token is asked only after the reader has given it.
func testToken(t *testing.T, ctx context.Context) {
	url := listen(t, start(t, serve.Options{Token: "open-sesame"}))
	p := newTab(t, ctx, url)
	p.Wait(`document.getElementById('login').checkVisibility() && document.activeElement.id === 'token'`)
	if p.Visible("main") {
		t.Error("the page is there before the token")
	}
	p.Do(chromedp.SendKeys(chromedp.CSS("#token"), "barley\r"))
	p.Wait(`document.getElementById('refused').textContent === 'The server refuses this token.'`)
	p.Do(chromedp.SendKeys(chromedp.CSS("#token"), "open-sesame\r")) // replaces what is selected
	p.Wait(ready)
	if p.Visible("#login") {
		t.Error("the token is still asked for")
	}
	p.Do(chromedp.SetUploadFiles(chromedp.CSS("#files"), write(t, "1.jpg")))
	p.Wait(settled(1))
	if got := p.cards()[0]; got.State != "done" {
		t.Errorf("with the token a photo gives %+v", got)
	}
	want := `curl -H "Authorization: Bearer $TOKEN" -F image=@photo.jpg '` + url + "/v1/classify'"
	if got := p.Text("#curl"); got != want {
		t.Errorf("the command line is %q, want %q", got, want)
	}
	p.Do(chromedp.Reload())
	p.Wait(ready)
	if p.Visible("#login") {
		t.Error("the token is forgotten when the page is loaded again")
	}
	p.Calm("status of 401")
}

// The page tries again while the server is busy; not for ever, but then the reader can.
func testBusyServer(t *testing.T, ctx context.Context) {
	handler := start(t, serve.Options{}).Handler()
	var asked, busy atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && asked.Add(1) <= busy.Load() {
			w.Header().Set("Retry-After", "0.1")
			http.Error(w, `{"error":"too many images are waiting"}`, http.StatusTooManyRequests)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	files := write(t, "1.jpg", "2.jpg", "3.jpg")
	want := expected(t, server.URL, files...)
	p := open(t, ctx, server.URL)
	asked.Store(0)
	busy.Store(5)
	p.Do(chromedp.SetUploadFiles(chromedp.CSS("#files"), files))
	p.Wait(settled(3))
	p.hasCards(want...)
	if asked.Load() != 5+3 {
		t.Errorf("%d requests, want 5 that are refused and 3 that are not", asked.Load())
	}
	p.Click("#clear")
	asked.Store(0)
	busy.Store(1 << 40)
	p.Do(chromedp.SetUploadFiles(chromedp.CSS("#files"), files[:1]))
	p.Wait(settled(1))
	p.hasCards(card{Name: "1.jpg", State: "failed", Error: "too many images are waiting"})
	if asked.Load() != 30 {
		t.Errorf("%d requests before it gives up, want 30", asked.Load())
	}
	busy.Store(0)
	p.Click("#again")
	p.Wait(settled(1))
	p.hasCards(want[0])
	if p.Visible("#again") {
		t.Error("nothing has failed, and still it can be tried again")
	}
	p.Calm("status of 429")
}

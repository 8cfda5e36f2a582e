package browser

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// axeFile is what scripts/axe.sh leaves in the cache folder.
const axeFile = "vitft/axe/axe-4.14.1.min.js"

// Axe is the script of axe-core, which looks for what keeps people from using a page. Without it the test is skipped
// aloud.
func Axe(t testing.TB) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err == nil {
		var script []byte
		if script, err = os.ReadFile(filepath.Join(cache, filepath.FromSlash(axeFile))); err == nil {
			return string(script)
		}
	}
	t.Skipf("axe-core is missing: run scripts/axe.sh (%v)", err)
	return ""
}

// Dark has the page in dark or in light colours.
func (p *Tab) Dark(dark bool) {
	p.t.Helper()
	value := "light"
	if dark {
		value = "dark"
	}
	p.set(emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: value}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
}

// Print has the page as it would be printed.
func (p *Tab) Print() {
	p.t.Helper()
	p.set(emulation.SetEmulatedMediaParams{Media: "print"})
}

func (p *Tab) set(media emulation.SetEmulatedMediaParams) {
	p.t.Helper()
	if _, err := chromedp.Call(p.Ctx, emulation.SetEmulatedMedia, media); err != nil {
		p.t.Fatal(err)
	}
}

// Clean fails for everything that axe finds on the page, in light and in dark.
func (p *Tab) Clean(axe string) {
	p.t.Helper()
	Eval[chromedp.Void](p, axe)
	for _, dark := range []bool{false, true} {
		p.Dark(dark)
		rules := "{}"
		if dark { // nothing but colours differs
			rules = "{ runOnly: ['color-contrast'] }"
		}
		Eval[chromedp.Void](p, `window.found = null; axe.run(document, `+rules+`).then(
			r => { window.found = r.violations.flatMap(v => v.nodes.map(
				n => v.id + ': ' + v.help + ': ' + n.target + ': ' + n.html.slice(0, 200) + ' ' + (n.failureSummary ?? ''))); },
			e => { window.found = [String(e)]; }); undefined`)
		p.Wait("window.found")
		found := Eval[[]string](p, "window.found.slice(0, 20)")
		for _, f := range found {
			p.t.Errorf("dark %v: axe: %s", dark, strings.Join(strings.Fields(f), " "))
		}
	}
	p.Dark(false)
}

// Shot writes a picture of the page into the folder that VITFT_SHOTS names, for those who want to look; without it
// nothing is done.
func (p *Tab) Shot(name string, width int) {
	p.t.Helper()
	dir := os.Getenv("VITFT_SHOTS")
	if dir == "" {
		return
	}
	p.Do(chromedp.EmulateViewport(int64(width), 900))
	height := min(Eval[int](p, "document.documentElement.scrollHeight"), 12000)
	p.Do(chromedp.EmulateViewport(int64(width), int64(height)))
	ctx, cancel := context.WithTimeout(p.Ctx, Timeout)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o644)
	}
	if err != nil {
		p.t.Error(fmt.Errorf("picture %s: %w", name, err))
	}
	p.Do(chromedp.EmulateViewport(Width, 740))
}

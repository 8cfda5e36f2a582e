package report_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/vitft/vitft/engine/report"
	"github.com/vitft/vitft/internal/testkit/browser"
)

// saved is the address of the report of a folder.
func saved(t *testing.T, dir string) string {
	t.Helper()
	path, err := report.Save(dir)
	if err != nil {
		t.Fatal(err)
	}
	return "file://" + filepath.ToSlash(path)
}

// strange are names that a page may stumble over.
var strange = []string{
	"a class whose name is very long and has no end in sight, as those of museums and of botanists often are",
	"Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
	"קיפוד אירופי", "قنفذ طويل الأذن", "🦔🌲", "長い名前のクラス", "<b>", "a/b", "plain",
}

// In a real browser, from disk and under its own policy, the page does what its script is for, by keyboard and by
// pointer, fits a narrow screen, and has nothing that axe finds in light or dark.
func TestPageInBrowser(t *testing.T) {
	ctx := browser.Start(t)
	run := saved(t, illustrated(t, fixture{classes: 100, perClass: 5, epochs: 4, temperature: []float64{0.8}}))
	p := browser.Open(t, ctx, run)
	p.Fits()
	stops := browser.Eval[int](p, `[...document.querySelectorAll('a, button, select, summary, [tabindex]')]
		.filter(e => e.tabIndex >= 0 && e.closest('svg')).length`)
	if figures := browser.Eval[int](p, `document.querySelectorAll('svg').length`); stops > figures {
		t.Errorf("%d stops of the tab key in %d figures", stops, figures)
	}
	first := `document.querySelector('#frequency .spot')`
	tip := `(document.querySelector('.tip').checkVisibility() ? document.querySelector('.tip').textContent : '')`
	browser.Eval[chromedp.Void](p, first+`.focus()`)
	p.Wait(tip + `.startsWith('class 0: accuracy')`)
	p.Do(chromedp.KeyEvent(kb.ArrowRight), chromedp.KeyEvent(kb.ArrowRight))
	p.Wait(tip + `.startsWith('class 2: accuracy') && document.activeElement.tabIndex === 0 && ` + first +
		`.tabIndex === -1 && document.activeElement.getAttribute('aria-label').startsWith('class 2: ')`)
	p.Do(chromedp.KeyEvent(kb.End))
	p.Wait(tip + `.startsWith('class 99: ')`)
	p.Do(chromedp.KeyEvent(kb.Escape))
	p.Wait(tip + ` === ''`)
	p.Do(chromedp.KeyEvent(kb.Enter)) // goes to the class
	p.Wait(`location.hash === '#c99' && document.querySelector('#c99').checkVisibility()`)
	browser.Eval[chromedp.Void](p, `document.querySelector('#confusions .wrong').scrollIntoView({ block: 'center' })`)
	box := browser.Eval[[]float64](p, `(r => [r.x + r.width / 2, r.y + r.height / 2])(
		document.querySelector('#confusions .wrong').getBoundingClientRect())`)
	p.Do(chromedp.MouseEvent("mouseMoved", box[0], box[1]))
	p.Wait(tip + `.includes(' taken for ')`)
	name := browser.Eval[string](p, `(s => { s.selectedIndex = 3; s.dispatchEvent(new Event('change'));
		return s.selectedOptions[0].text; })(document.querySelector('#map select'))`)
	p.Wait(fmt.Sprintf(`[...document.querySelectorAll('#map .lit')].length > 0 &&
		[...document.querySelectorAll('#map .lit')].every(s => s.textContent.startsWith(%q))`, name))
	p.Calm()
	p.Shot("report-100-narrow", 390)
	p.Shot("report-100", 1100)
	p.Dark(true)
	p.Shot("report-100-dark", 1100)
	p.Print()
	p.Shot("report-100-print", 760)
	t.Run("axe", func(t *testing.T) {
		axe := browser.Axe(t)
		swept, _ := sweepFixture{experiment: ablation, calibrated: true}.write(t)
		for name, url := range map[string]string{
			"sweep": saved(t, swept), "20 classes": saved(t, illustrated(t, fixture{classes: 20, perClass: 5})),
			"strange names": saved(t, illustrated(t, fixture{classes: len(strange), perClass: 12, validated: true,
				name: func(k int) string { return strange[k] }})),
		} {
			p := browser.Open(t, ctx, url)
			p.Clean(axe)
			p.Fits()
			p.Calm()
			name = strings.ReplaceAll(name, " ", "-")
			p.Shot(name+"-narrow", 390)
			p.Dark(true)
			p.Shot(name+"-dark", 1100)
			p.Dark(false)
			p.Shot(name, 1100)
		}
	})
	if os.Getenv("VITFT_SHOTS") != "" {
		for _, f := range []fixture{{classes: 3, perClass: 30}, {classes: 40, perClass: 10},
			{classes: 1000, perClass: 3}} {
			browser.Open(t, ctx, saved(t, illustrated(t, f))).Shot(fmt.Sprint("report-", f.classes), 1100)
		}
	}
}

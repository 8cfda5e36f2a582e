package report

import (
	"bytes"
	_ "embed" // the page of a run that is going
	"html/template"

	"github.com/vitft/vitft/head"
)

var (
	//go:embed live.html
	liveHTML string
	//go:embed live.js
	liveJS template.JS

	liveDocument = template.Must(template.Must(document.Clone()).New("live").Parse(liveHTML))
)

// Curves are the figures of a training that is going, by what they show.
func Curves(history []head.Epoch) map[string]string {
	if len(history) == 0 {
		return nil
	}
	p := &page{Run: &Run{history: history}}
	return map[string]string{"loss": string(p.LossPlot()), "accuracy": string(p.AccuracyPlot())}
}

// LivePage is the page that shows a run while it is going. It asks state, beside it, for what there is to show.
func LivePage(name string) []byte {
	var b bytes.Buffer
	// A buffer takes everything, and the template has been tried.
	_ = liveDocument.Execute(&b, struct{ Title, Name string }{source(name) + " is running", source(name)})
	return b.Bytes()
}

package run

import (
	"bytes"
	"cmp"
	_ "embed" // the card's text
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/metric"
	"github.com/vitft/vitft/models"
)

//go:embed card.md
var cardText string

var cardTemplate = template.Must(template.New("card").Funcs(template.FuncMap{
	"cell": cell, "share": metric.Share.Text, "decimal": metric.Decimal.Text, "headline": metric.Headline,
	"base": filepath.Base, // names no folders of this machine
}).Parse(cardText))

type card struct {
	Name    string
	Config  Config
	Env     Environment
	Metrics *metric.Metrics

	Backbone models.Backbone // what the registry knows of it
	Known    bool            // whether it does
	Images   int             // training images
	Largest  metric.ClassMetrics
	Smallest metric.ClassMetrics
	Groups   []cardGroup
	Fewest   *cardGroup            // the last of them
	Worst    []metric.ClassMetrics // the classes with the lowest accuracy
	HasModel bool
}

type cardGroup struct {
	calib.Shot
	metric.GroupMetrics
	Images int
}

// WriteCard writes README.md: what those who are to use the model should know. It names no path of this machine.
func (d Folder) WriteCard(c Config, env Environment, m metric.Metrics) error {
	name := string(d)
	if abs, err := filepath.Abs(name); err == nil {
		name = abs
	}
	text, err := newCard(filepath.Base(name), c, env, &m, ModelFile.Exists(d)).text()
	if err != nil {
		return fmt.Errorf("write %s: %w", CardFile.Path(d), err)
	}
	return CardFile.Write(d, text)
}

func newCard(name string, c Config, env Environment, m *metric.Metrics, hasModel bool) *card {
	d := &card{
		Name: name, Config: c, Env: env, Metrics: m, HasModel: hasModel,
		Largest: slices.MaxFunc(m.PerClass, byCount), Smallest: slices.MinFunc(m.PerClass, byCount),
	}
	d.Backbone, _, d.Known = models.Recognize(env.Backbone.Name, env.Backbone.SHA256)
	for _, g := range calib.Shots() {
		d.Groups = append(d.Groups, cardGroup{Shot: g, GroupMetrics: m.Groups[g]})
	}
	d.Fewest = &d.Groups[calib.Few]
	for _, class := range m.PerClass {
		d.Images += class.TrainCount
		d.Groups[class.Shot()].Images += class.TrainCount
		if class.Samples > 0 {
			d.Worst = append(d.Worst, class)
		}
	}
	slices.SortStableFunc(d.Worst, func(a, b metric.ClassMetrics) int { return cmp.Compare(a.Accuracy, b.Accuracy) })
	d.Worst = d.Worst[:min(5, len(d.Worst))]
	return d
}

func (d *card) text() ([]byte, error) {
	var b bytes.Buffer
	err := cardTemplate.Execute(&b, d)
	return b.Bytes(), err
}

func byCount(a, b metric.ClassMetrics) int { return cmp.Compare(a.TrainCount, b.TrainCount) }

// cell keeps a name from breaking out of a Markdown table.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;", "`", "'").Replace(s)
}

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
	"cell": cell, "share": metric.Share.Text, "decimal": metric.Decimal.Text,
}).Parse(cardText))

// card is what a model card is made from.
type card struct {
	Name    string
	Config  Config
	Env     Environment
	Metrics *metric.Metrics
	Rows    []metric.Row

	Backbone     models.Backbone // what the registry knows of it
	Known        bool            // whether it does
	BackboneFile string          // without the path to it
	Train        string          // the training source, without the path to it
	Images       int             // training images
	Views        int             // that are judged
	Largest      metric.ClassMetrics
	Smallest     metric.ClassMetrics
	Groups       []cardGroup
	Fewest       *cardGroup            // the last of them
	Worst        []metric.ClassMetrics // the classes with the lowest accuracy
	HasModel     bool
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
		Name: name, Config: c, Env: env, Metrics: m, Rows: metric.Headline(), HasModel: hasModel,
		BackboneFile: filepath.Base(env.Backbone.Name), Train: filepath.Base(c.Text("train")),
		Largest: m.PerClass[0], Smallest: m.PerClass[0], Views: len(env.TTA),
	}
	d.Backbone, _, d.Known = models.Recognize(env.Backbone.Name, env.Backbone.SHA256)
	for _, g := range calib.Shots() {
		d.Groups = append(d.Groups, cardGroup{Shot: g, GroupMetrics: m.Groups[g]})
	}
	d.Fewest = &d.Groups[calib.Few]
	for _, class := range m.PerClass {
		d.Images += class.TrainCount
		d.Groups[class.Shot()].Images += class.TrainCount
		if class.TrainCount > d.Largest.TrainCount {
			d.Largest = class
		}
		if class.TrainCount < d.Smallest.TrainCount {
			d.Smallest = class
		}
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

// cell keeps a name from breaking out of a Markdown table.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;", "`", "'").Replace(s)
}

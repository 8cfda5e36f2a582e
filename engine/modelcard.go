package engine

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/models"
)

//go:embed modelcard.md
var cardText string

var cardTemplate = template.Must(template.New("card").Funcs(template.FuncMap{"percent": percent, "decimal": decimal, "cell": cell}).Parse(cardText))

// card is what a model card is made from.
type card struct {
	Name    string
	Config  Config
	Env     environment
	Metrics Metrics

	Backbone     models.Backbone // what the registry knows of it
	Known        bool            // whether it does
	BackboneFile string          // without the path to it
	Train        string          // the training source, without the path to it
	Images       int             // training images
	Largest      ClassMetrics
	Smallest     ClassMetrics
	Groups       [3]cardGroup   // many, medium, few
	Worst        []ClassMetrics // the classes with the lowest accuracy
	HasModel     bool
}

type cardGroup struct {
	Name, Range     string
	Classes, Images int
	Accuracy, ECE   Number
}

// writeCard writes README.md from the other files and the metrics to come.
func (r runFolder) writeCard(c Config, m Metrics) error {
	var env environment
	if err := r.readJSON(environmentFile, &env); err != nil {
		return err
	}
	text, err := modelCard(filepath.Base(absolute(string(r))), c, env, m, r.has(modelFile))
	if err != nil {
		return fmt.Errorf("write %s: %w", r.path(cardFile), err)
	}
	return r.write(cardFile, text)
}

// modelCard describes a finished run for those who are to use its model.
func modelCard(name string, c Config, env environment, m Metrics, hasModel bool) ([]byte, error) {
	d := card{
		Name: name, Config: c, Env: env, Metrics: m, HasModel: hasModel,
		BackboneFile: filepath.Base(env.Backbone.Name), Train: filepath.Base(c.Train),
	}
	d.Backbone, _, d.Known = models.Recognize(env.Backbone.Name, env.Backbone.SHA256)
	d.Groups = [3]cardGroup{
		{Name: "many", Range: "more than 100", Accuracy: m.Groups.Many.Accuracy, ECE: m.Groups.Many.ECE},
		{Name: "medium", Range: "20 to 100", Accuracy: m.Groups.Medium.Accuracy, ECE: m.Groups.Medium.ECE},
		{Name: "few", Range: "fewer than 20", Accuracy: m.Groups.Few.Accuracy, ECE: m.Groups.Few.ECE},
	}
	group := map[head.Group]int{head.Many: 0, head.Medium: 1, head.Few: 2}
	d.Largest, d.Smallest = m.PerClass[0], m.PerClass[0]
	for _, class := range m.PerClass {
		d.Images += class.TrainCount
		if class.TrainCount > d.Largest.TrainCount {
			d.Largest = class
		}
		if class.TrainCount < d.Smallest.TrainCount {
			d.Smallest = class
		}
		g := &d.Groups[group[head.GroupOf(class.TrainCount)]]
		g.Classes++
		g.Images += class.TrainCount
		if class.Samples > 0 {
			d.Worst = append(d.Worst, class)
		}
	}
	slices.SortStableFunc(d.Worst, func(a, b ClassMetrics) int { return cmp.Compare(a.Accuracy, b.Accuracy) })
	d.Worst = d.Worst[:min(5, len(d.Worst))]
	var b bytes.Buffer
	err := cardTemplate.Execute(&b, d)
	return b.Bytes(), err
}

// percent and decimal are numbers for readers; "–" where there is nothing to
// compute one from.
func percent(n Number) string {
	if math.IsNaN(float64(n)) {
		return "–"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(n))
}

func decimal(n Number) string {
	if math.IsNaN(float64(n)) {
		return "–"
	}
	return fmt.Sprintf("%.3f", float64(n))
}

// cell keeps a name from breaking out of a Markdown table.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;", "`", "'").Replace(s)
}

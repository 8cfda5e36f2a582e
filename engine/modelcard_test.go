package engine

import (
	"math"
	"strings"
	"testing"
)

func TestModelCard(t *testing.T) {
	run, _ := trainedRun(t)
	c := readConfig(t, runFolder(run).path(configFile))
	text := content(t, run, cardFile)
	for _, want := range []string{
		"# run\n", "74 training images of 4 classes", "40 of the most frequent (class-a), 4 of the rarest (class-d)", "On 24 images (test)",
		"`vitft-micro-28`", "Licence: Apache-2.0", "`classwise`, fitted on out-of-fold images", "Loss `cvs`, 5 epochs", "fewer than 20 training images (few) | 2 | 12 |",
		"[batch, 3, 28, 28]", "vitft predict --model model.onnx",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it lacks %q", want)
		}
	}
	for _, leak := range []string{"NaN", "<no value>", "{{", c.Train, "\n\n\n"} {
		if strings.Contains(text, leak) {
			t.Errorf("it has %q", leak)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
	// Nothing to compute from, an unknown backbone, and a class name that is markup.
	nan := Number(math.NaN())
	m := Metrics{Split: "train", ECE: nan, PerClass: []ClassMetrics{{Label: "a|b\n<i>", TrainCount: 200, Samples: 0, Accuracy: nan}}}
	env := environment{Backbone: backboneRecord{Name: "/secret/place/vit.onnx"}}
	odd, err := modelCard("odd", Config{Train: "/secret/place/photos"}, env, m, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"these are the training images", "`vit.onnx`. Its licence is not known", `a\|b &lt;i>`, "error of –", "`photos`"} {
		if !strings.Contains(string(odd), want) {
			t.Errorf("the card of an odd run lacks %q", want)
		}
	}
	if strings.Contains(string(odd), "secret") || strings.Contains(string(odd), "NaN") {
		t.Errorf("the card of an odd run:\n%s", odd)
	}
}

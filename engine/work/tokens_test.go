package work

import (
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
)

// What float16 cannot hold is given up at once, with the reason: another try makes the same.
func TestTooLarge(t *testing.T) {
	s := newStage(t)
	m := s.of.Model.Copy()
	b := graph.NewBuilder(m, "large")
	large := b.Node("Mul", []string{vision.Embedding, b.Floats("factor", nil, 1e6)}, "")
	m.Rename(map[string]string{vision.Embedding: b.Name("was"), large: vision.Embedding})
	m.SetOutputs(s.of.Model.Outputs()...)
	of, err := s.of.With(m, "a million times", event.Events{})
	if err != nil {
		t.Fatal(err)
	}
	defer of.Close()
	s.of = of.KeepTokens("")
	_, err = s.submit(t.Context(), Queue{URL: Embedded})
	if err == nil || !strings.Contains(err.Error(), "3 of 3 tasks were given up") ||
		!strings.Contains(err.Error(), "which float16 cannot hold") {
		t.Errorf("%v", err)
	}
	status, err := ReadStatus(t.Context(), StatusOptions{Features: feature.Options{Cache: s.cache}})
	if err != nil || len(status.Jobs) != 1 || len(status.Jobs[0].GivenUp) != 3 {
		t.Fatalf("%+v, %v", status, err)
	}
	if j := status.Jobs[0]; j.GivenUp[0].Tries != 1 || j.Stored != "float16" || !strings.HasSuffix(j.Feature, "times") {
		t.Errorf("%+v", j)
	}
}

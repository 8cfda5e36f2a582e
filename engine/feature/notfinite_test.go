package feature

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature/store"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/models"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
)

// A backbone with one broken weight is named as such, with the node that reads it and the first image; nothing is kept.
func TestBrokenBackboneIsNamed(t *testing.T) {
	ort.Need(t)
	text, err := models.Default().Bytes()
	if err != nil {
		t.Fatal(err)
	}
	m, err := graph.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	nodes := m.Graph().Node
	weights := m.Index().Weight
	var broken, node string
	for i := len(nodes) / 2; broken == ""; i++ { // the first product from the middle on
		n := nodes[i]
		if n.GetOpType() == "MatMul" && weights[n.Input[1]] != nil && len(weights[n.Input[1]].RawData) > 0 {
			broken, node = n.Input[1], n.GetName()
			binary.LittleEndian.PutUint32(weights[broken].RawData[4:], math.Float32bits(float32(math.NaN())))
		}
	}
	changed, err := m.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	path := testkit.WriteFile(t, filepath.Join(t.TempDir(), "broken.onnx"), changed)
	x, err := Open(context.Background(), openBackbone(t, path), vision.Views(1), Options{Cache: t.TempDir(), Batch: 4},
		event.Events{})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	d := photos(t, 1, 3, 3)
	_, err = x.Ensure(context.Background(), "train", d, 1)
	odd, is := errors.AsType[*store.NotFiniteError](err)
	if !is || fault.Of(err) != fault.Data || odd.Name != d.Items[0].Path {
		t.Fatalf("error %v", err)
	}
	for _, want := range []string{"backbone " + path, `node "` + node + `" (MatMul)`, "NaN", `weight "` + broken + `"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %s", err, want)
		}
	}
}

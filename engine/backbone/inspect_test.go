package backbone_test

import (
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/models"
	"github.com/vitft/vitft/onnx/graph"
)

// What Open refuses Inspect refuses too, in words of ours and without the places in the runtime's source.
func TestInspectRefusesWhatOpenDoes(t *testing.T) {
	ort.Need(t)
	text, err := models.Default().Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(m *graph.Model)
		want   string
	}{
		"sound": {func(*graph.Model) {}, ""},
		"operator set 99": {func(m *graph.Model) { m.Proto().OpsetImport[0].Version = proto.Int64(99) },
			"opset"},
		"IR 99": {func(m *graph.Model) { m.Proto().IrVersion = proto.Int64(99) }, "IR version"},
		"an operator that nobody knows": {func(m *graph.Model) { last(m).OpType = proto.String("Frobnicate") },
			"Frobnicate"},
		"a domain that nobody knows": {func(m *graph.Model) { last(m).Domain = proto.String("com.example") },
			"com.example"},
		"an attribute that nobody knows": {func(m *graph.Model) {
			last(m).Attribute = append(last(m).Attribute, graph.IntAttr("frob", 1))
		}, "frob"},
	} {
		m, err := graph.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		c.change(m)
		changed, err := m.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		o := backbone.Options{Name: testkit.WriteFile(t, filepath.Join(t.TempDir(), "m.onnx"), changed)}
		b, open := backbone.Open(o, device.Options{Provider: "cpu"}, event.Events{})
		if open == nil {
			b.Close()
		}
		r, err := backbone.Inspect(o)
		if (open == nil) != (err == nil) || (err == nil) != (c.want == "") || r == nil || r.Untried != "" {
			t.Errorf("%s: Open says %v, Inspect %v", name, open, err)
			continue
		}
		if err != nil && (fault.Of(err) != fault.Data || !strings.HasSuffix(open.Error(), err.Error()) ||
			!strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "onnxruntime")) {
			t.Errorf("%s: Inspect says\n%v\nOpen\n%v\nwant it to name %s", name, err, open, c.want)
		}
	}
}

// last is the node that gives the model's first output.
func last(m *graph.Model) *graph.Node { return m.Index().Producer[m.Outputs()[0].Name] }

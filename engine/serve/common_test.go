package serve_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/serve"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/trained"
	"github.com/vitft/vitft/onnx/adapt"
)

// family writes models of the embedded backbone, one of each kind.
func family(t *testing.T, dir string, kinds ...adapt.Kind) (paths []string) {
	t.Helper()
	b, err := backbone.Open(backbone.Options{}, onCPU, event.Events{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for i, kind := range kinds {
		model, err := trained.Member(b.Model, b.Session.Dim(), b.Preprocess, kind, 2, 2+i%3, uint64(i))
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, testkit.WriteFile(t, filepath.Join(dir, fmt.Sprintf("m%d.onnx", i)), model))
	}
	return paths
}

// Models of one backbone, with heads of other classes, adapters, LoRA and views, hold it once: each answers with the
// bits that it has alone, also while they are exchanged, and a reload keeps nothing of those before.
func TestModelsOfOneBackbone(t *testing.T) {
	folder(t, "across", "down") // skips where there is no runtime
	dir := t.TempDir()
	paths := family(t, dir, "", adapt.Adapter, adapt.Adapter, adapt.LoRA, adapt.LoRA)
	image := trained.Photo(1, 3)
	var want [][]float32
	for _, path := range paths {
		c, err := classify.Open(path, classify.Options{Device: onCPU})
		if err != nil {
			t.Fatal(err)
		}
		p, err := c.ClassifyBytes(t.Context(), image)
		if err != nil || c.Close() != nil {
			t.Fatal(err)
		}
		want = append(want, p.Probabilities)
	}
	s := start(t, serve.Options{Models: paths})
	url := listen(t, s)
	ask := func(i int) error {
		const body = `{"inputs":[{"name":"image","datatype":"BYTES","shape":[1],"data":[%q]}],` +
			`"outputs":[{"name":"probabilities"}]}`
		r, err := http.Post(fmt.Sprintf("%s/v2/models/m%d/infer", url, i), "application/json",
			strings.NewReader(fmt.Sprintf(body, base64.StdEncoding.EncodeToString(image))))
		if err != nil {
			return err
		}
		text := read(t, r)
		var a struct{ Outputs []struct{ Data []float32 } }
		if err := json.Unmarshal([]byte(text), &a); err != nil || len(a.Outputs) != 1 {
			return fmt.Errorf("%d %s", r.StatusCode, text)
		}
		if got := a.Outputs[0].Data; !slices.Equal(got, want[i]) {
			return fmt.Errorf("model %d says %v, alone %v", i, got, want[i])
		}
		return nil
	}
	inCommon := func() (bytes []int64) {
		_, text := get(t, url+"/v1/models")
		var a struct {
			Models []struct {
				Bytes int64 `json:"bytes_in_common"`
			}
		}
		if err := json.Unmarshal([]byte(text), &a); err != nil {
			t.Fatal(err)
		}
		for _, m := range a.Models {
			bytes = append(bytes, m.Bytes)
		}
		return bytes
	}
	size := func(path string) int64 {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	shared := inCommon()
	for i, n := range shared {
		least := int64(90) // per cent of the file; LoRA has matrices of its own
		if i > 2 {
			least = 60
		}
		if file := size(paths[i]); n < file*least/100 || n > file {
			t.Errorf("model %d has %d bytes in common, of %d", i, n, file)
		}
	}
	if _, text := get(t, url+"/metrics"); !strings.Contains(text, `vitft_model_bytes_in_common{model="m0"}`) {
		t.Error("metrics do not say it")
	}

	var stop atomic.Bool
	var clients sync.WaitGroup
	for i := range paths {
		clients.Go(func() {
			for n := 0; n < 20 || !stop.Load(); n++ {
				if err := ask(i); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 3 {
		if err := s.Reload(); err != nil {
			t.Error(err)
		}
	}
	stop.Store(true)
	clients.Wait()
	if now := inCommon(); !slices.Equal(now, shared) {
		t.Errorf("after reloads %v, before %v", now, shared)
	}

	// One becomes another model, and one is broken: the others go on sharing, and what is kept stays right.
	other := testkit.ReadFile(t, filepath.Join(folder(t, "across", "down"), "model.onnx"))
	testkit.WriteFile(t, paths[4], bytes.Clone(other))
	testkit.WriteFile(t, paths[3], []byte("half a model"))
	if err := s.Reload(); err == nil || !strings.Contains(err.Error(), "model m3 is kept as it was") {
		t.Error(err)
	}
	for i := range 4 {
		if err := ask(i); err != nil {
			t.Error(err)
		}
	}
}

package serve_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/engine/serve"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/trained"
)

// Triton's own clients get from the inference protocol what a Classifier says, by HTTP and by gRPC, whether they send
// images or pixels, in binary or in JSON.
func TestTritonClient(t *testing.T) {
	python := os.Getenv("VITFT_PYTHON")
	if python == "" {
		t.Skip("VITFT_PYTHON names no Python with tritonclient (scripts/python.sh makes one)")
	}
	c, err := classify.Open(folder(t, "across", "down"), classify.Options{Device: onCPU})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, url := dial(t, start(t, serve.Options{}))
	dir := t.TempDir()
	script, address := filepath.Join("testdata", "triton.py"), strings.TrimPrefix(url, "http://")
	args := []string{script, address, "stripes", filepath.Join(dir, "pixels")}
	var want []classify.Prediction
	var raw []byte
	for i := range 5 {
		image := trained.Photo(i%2, uint64(200+i))
		p, err := c.ClassifyBytes(t.Context(), image)
		if err != nil {
			t.Fatal(err)
		}
		pixels := make([]float32, c.Preprocess().Size())
		if err := c.Preprocess().Bytes(image, pixels); err != nil {
			t.Fatal(err)
		}
		if raw, err = binary.Append(raw, binary.LittleEndian, pixels); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, fmt.Sprint(i))
		testkit.WriteFile(t, path, image)
		want, args = append(want, p), append(args, path)
	}
	testkit.WriteFile(t, filepath.Join(dir, "pixels"), raw)
	text, err := exec.Command(python, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d lines for %d images:\n%s", len(lines), len(want), text)
	}
	for i, line := range lines {
		var got struct {
			Label       string
			Probability float32
			Listed      []string
			Same        bool
		}
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		listed := fmt.Sprintf("%f:%d:%s", want[i].Confidence, want[i].Class, want[i].Label)
		if got.Label != want[i].Label || got.Probability != want[i].Confidence || !got.Same || got.Listed[0] != listed {
			t.Errorf("image %d: %s, want %s with %v", i, line, want[i].Label, want[i].Confidence)
		}
	}
}

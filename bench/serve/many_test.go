package serve_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/trained"
	"github.com/vitft/vitft/onnx/adapt"
)

var (
	kind    = flag.String("kind", "adapter", "what the many models have of their own beside a head")
	manyFor = flag.Duration("many", 0, "how long many models are asked, for each number of them; 0 is not at all")
)

// BenchmarkManyModels serves 1, 2 and 8 models of ViT-Tiny with the kind of adapters in its last six blocks.
func BenchmarkManyModels(b *testing.B) {
	if *manyFor == 0 {
		b.Skip("it takes minutes: ask for it with -args -many 20s")
	}
	t, err := backbone.Open(backbone.Options{Name: testkit.Model(b)}, device.Options{Provider: "cpu"}, event.Events{})
	if err != nil {
		b.Fatal(err)
	}
	defer t.Close()
	var args []string
	for i := range 8 {
		model, err := trained.Member(t.Model, t.Session.Dim(), t.Preprocess, adapt.Kind(*kind), 6, 100, uint64(i))
		if err != nil {
			b.Fatal(err)
		}
		path := filepath.Join(b.TempDir(), fmt.Sprintf("m%d.onnx", i))
		args = append(args, "--model", testkit.WriteFile(b, path, model))
	}
	image := trained.Photo(0, 1)
	for _, n := range []int{1, 2, 8} {
		s := start(b, args[1], args[2:2*n]...)
		loaded := resident(s.cmd.Process.Pid)
		ctx, stop := context.WithTimeout(b.Context(), *manyFor)
		var answers atomic.Int64
		var all sync.WaitGroup
		for i := range *clients {
			all.Go(func() {
				url := s.url + "/v1/classify?model=m" + strconv.Itoa(i%n)
				for ctx.Err() == nil {
					r, err := http.Post(url, "image/jpeg", bytes.NewReader(image))
					if err != nil {
						b.Error(err)
						return
					}
					io.Copy(io.Discard, r.Body)
					if r.Body.Close(); r.StatusCode == http.StatusOK {
						answers.Add(1)
					}
				}
			})
		}
		all.Wait()
		stop()
		busy := resident(s.cmd.Process.Pid)
		s.cmd.Process.Signal(os.Interrupt)
		if err := s.cmd.Wait(); err != nil {
			b.Error(err)
		}
		took, images := s.cmd.ProcessState.UserTime()+s.cmd.ProcessState.SystemTime(), float64(answers.Load())
		fmt.Printf("%d models: %s MB resident when loaded, %s MB after %v of %d clients; %.1f images/s, "+
			"%.1f ms of processor time an image, loading among it\n", n, loaded, busy, *manyFor, *clients,
			images/manyFor.Seconds(), 1000*took.Seconds()/images)
	}
}

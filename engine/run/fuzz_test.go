package run

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/vitft/vitft/engine/artifact"
)

// Whatever a file of a run or a sweep holds, reading it ends without a panic; what can be read is the same when it has
// been written and read again.
func FuzzFiles(f *testing.F) {
	files := []func([]byte) error{
		again(ConfigFile), again(EnvironmentFile), again(SkippedFile), again(HistoryFile), again(KappaFile),
		again(HeadFile), again(LabelsFile), again(PredictionsFile), again(MetricsFile), read(SummaryFile),
		read(HeadsFile), read(headFiles),
		func(text []byte) error {
			text = append(text, artifact.SumOf(text)...)
			_, _ = readCheckpoint(bytes.NewReader(text), int64(len(text)))
			return nil
		},
	}
	d := finished(f)
	for i, name := range []string{"config.yaml", "environment.json", "skipped.csv", "history.jsonl", "kappa.csv",
		"head.safetensors", "labels.txt", "predictions.csv", "metrics.json", "checkpoint/state.gob"} {
		if text, err := os.ReadFile(File{Name: name}.Path(d)); err == nil {
			if i == 9 {
				i, text = 12, text[:len(text)-len(artifact.SumOf(nil))]
			}
			f.Add(uint8(i), text)
		}
	}
	f.Add(uint8(2), []byte("set,path,reason\ntrain,=a.jpg,\"x\ny\"\n"))
	f.Add(uint8(7), []byte("path,label,predicted,confidence,confidence_before\n'=a,b,c,0.5,1\n"))
	f.Add(uint8(9), []byte("configuration,seeds,failed,baseline,selected,seconds,difference,difference_low,"+
		"difference_high,difference_seed_std\nce,1,0,yes,,1,,,,\n"))
	f.Add(uint8(10), []byte("id,configuration,seed,status,error\na,ce,0,failed,why\n"))
	f.Add(uint8(11), []byte(`{"id":"a","settings":{"tau":1.5},"predicted":"AAECf4AB"}`))
	f.Fuzz(func(t *testing.T, file uint8, text []byte) {
		if err := files[int(file)%len(files)](text); err != nil {
			t.Fatal(err)
		}
	})
}

func read[T any](f Typed[T]) func([]byte) error {
	return func(text []byte) error {
		_, _ = f.decode(text)
		return nil
	}
}

func again[T any](f Typed[T]) func([]byte) error {
	return func(text []byte) error {
		content, err := f.decode(text)
		if err != nil {
			return nil
		}
		written, err := f.encode(content)
		if err != nil || written == nil {
			return err
		}
		back, err := f.decode(written)
		if err == nil {
			var same []byte
			if same, err = f.encode(back); err == nil && bytes.Equal(same, written) {
				return nil
			}
		}
		return fmt.Errorf("%s: %+v is written as %q and comes back as %+v, %v", f.Name, content, written, back, err)
	}
}

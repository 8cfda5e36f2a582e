package run

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/internal/testkit"
)

// readers read every kind of file.
func readers(d Folder, head string) map[string]func() error {
	return map[string]func() error{
		ConfigFile.Name:          func() error { return ConfigFile.Into(new(Config), d) },
		EnvironmentFile.Name:     func() error { return EnvironmentFile.Into(new(Environment), d) },
		SkippedFile.Name:         func() error { _, err := SkippedFile.Read(d); return err },
		HistoryFile.Name:         func() error { _, err := HistoryFile.Read(d); return err },
		KappaFile.Name:           func() error { _, err := KappaFile.Read(d); return err },
		CheckpointFile.Name:      func() error { _, err := CheckpointFile.Read(d); return err },
		HeadFile.Name:            func() error { _, err := HeadFile.Read(d); return err },
		LabelsFile.Name:          func() error { _, err := LabelsFile.Read(d); return err },
		PredictionsFile.Name:     func() error { _, err := PredictionsFile.Read(d); return err },
		PicturesFile.Name:        func() error { _, err := PicturesFile.Read(d); return err },
		WarningsFile.Name:        func() error { _, err := WarningsFile.Read(d); return err },
		AdapterFile.Name:         func() error { _, err := AdapterFile.Read(d); return err },
		ModelFile.Name:           func() error { _, err := ModelFile.Read(d); return err },
		CardFile.Name:            func() error { _, err := CardFile.Read(d); return err },
		ReportFile.Name:          func() error { _, err := ReportFile.Read(d); return err },
		MetricsFile.Name:         func() error { _, err := MetricsFile.Read(d); return err },
		SweepFile.Name:           func() error { _, err := SweepFile.Read(d); return err },
		HeadsFile.Name:           func() error { _, err := HeadsFile.Read(d); return err },
		SummaryFile.Name:         func() error { _, err := SummaryFile.Read(d); return err },
		SummaryTextFile.Name:     func() error { _, err := SummaryTextFile.Read(d); return err },
		SweepHeadFile(head).Name: func() error { _, err := SweepHeadFile(head).Read(d); return err },
	}
}

// In a sealed folder a flipped bit, a cut and a missing file are noticed, whichever file it is, and the file is named.
func TestDamageIsNoticedInEveryFile(t *testing.T) {
	swept, _ := swept(t)
	heads, err := filepath.Glob(filepath.Join(string(swept), "heads", "*.json"))
	if err != nil || len(heads) == 0 {
		t.Fatal(heads, err)
	}
	head := strings.TrimSuffix(filepath.Base(heads[0]), ".json")
	for _, d := range []Folder{finished(t), swept} {
		must(t, d.Seal())
		sums, err := artifact.ReadSums(string(d))
		must(t, err)
		if len(sums) < 5 {
			t.Fatalf("%s has sums of %d files only", d, len(sums))
		}
		for name := range sums {
			read := readers(d, head)[name]
			if read == nil {
				if !strings.HasPrefix(name, "heads/") {
					t.Errorf("nobody reads %s", name)
				}
				continue
			}
			path := File{Name: name}.Path(d)
			content := testkit.ReadFile(t, path)
			must(t, read())
			flipped := append([]byte{}, content...)
			flipped[len(flipped)/2] ^= 1 << 3
			for what, damage := range map[string]func(){
				"a bit flipped":   func() { testkit.WriteFile(t, path, flipped) },
				"the end cut off": func() { testkit.WriteFile(t, path, content[:len(content)-1]) },
				"gone":            func() { must(t, os.Remove(path)) },
			} {
				damage()
				if err := read(); err == nil || fault.Of(err) != fault.Data ||
					!strings.Contains(err.Error(), filepath.Base(name)) {
					t.Errorf("%s, %s: %v", name, what, err)
				}
				testkit.WriteFile(t, path, content)
			}
		}
		path := filepath.Join(string(d), artifact.SumsFile)
		text := testkit.ReadFile(t, path)
		text[3] ^= 1
		testkit.WriteFile(t, path, text)
		if _, err := artifact.ReadSums(string(d)); err == nil ||
			!strings.Contains(err.Error(), artifact.SumsFile+" is damaged") {
			t.Errorf("the sums themselves: %v", err)
		}
	}
}

// A checkpoint, which is there before any sums, has its own.
func TestDamagedCheckpointIsNoticed(t *testing.T) {
	d := finished(t)
	content := testkit.ReadFile(t, CheckpointFile.Path(d))
	for at := range content {
		flipped := append([]byte{}, content...)
		flipped[at] ^= 1 << (at % 8)
		testkit.WriteFile(t, CheckpointFile.Path(d), flipped)
		if _, err := CheckpointFile.Read(d); err == nil || fault.Of(err) != fault.Data {
			t.Fatalf("byte %d flipped: %v", at, err)
		}
	}
}

// Writing into a sealed folder keeps its sums; unsealing ends them.
func TestSealedFolderMayBeWrittenTo(t *testing.T) {
	d := finished(t)
	must(t, d.Seal(), ReportFile.Write(d, []byte("another")))
	if text, err := ReportFile.Read(d); err != nil || string(text) != "another" {
		t.Errorf("%q, %v", text, err)
	}
	must(t, d.Unseal(), d.Unseal())
	testkit.WriteFile(t, ReportFile.Path(d), []byte("by hand"))
	if text, err := ReportFile.Read(d); err != nil || string(text) != "by hand" {
		t.Errorf("%q, %v", text, err)
	}
}

// What a beginning that was killed has left does not stand in the way, and goes.
func TestKilledBeginningIsNoFolderOfOthers(t *testing.T) {
	d := Folder(t.TempDir())
	must(t, os.Mkdir(filepath.Join(string(d), "checkpoint"), 0o755))
	temp := testkit.WriteFile(t, filepath.Join(string(d), ".tmp-KILLEDKILLEDKILLEDKILLEDKI"), []byte("half a config"))
	lock, err := d.Create(configOf(t, options{Train: "photos"}), event.Events{})
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if _, err := os.Stat(temp); err == nil {
		t.Error("the temporary file is still there")
	}
	checkpoint := testkit.WriteFile(t, filepath.Join(string(d), "checkpoint", ".tmp-ENDEDENDEDENDEDENDEDENDEDE"),
		[]byte("half a state"))
	must(t, CheckpointFile.Write(d, &Checkpoint{}))
	if _, err := os.Stat(checkpoint); err == nil {
		t.Error("the temporary file of a checkpoint outlives the next one")
	}
}

// The checkpoint of all weights of a large ViT has more bytes than an ONNX file may: only memory bounds it.
func TestLargeCheckpoint(t *testing.T) {
	dir := Folder(t.TempDir())
	path := CheckpointFile.Path(dir)
	testkit.WriteFile(t, path, nil)
	if err := os.Truncate(path, 1<<40); err != nil {
		t.Fatal(err)
	}
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(4 << 30))
	if err := CheckpointFile.Check(dir); fault.Of(err) != fault.Config || !strings.Contains(err.Error(), path) {
		t.Errorf("more than the memory: %v", err)
	}
}

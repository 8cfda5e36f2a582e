package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/internal/testkit"
)

// readers are the commands that read files back, by name; {photo} and the like are filled in. Those that write do so
// beside what is there.
var readers = map[string]string{
	"predict":  "predict --model run --provider cpu --threads 1 --quiet {photo}",
	"exported": "predict --model out/model.onnx --provider cpu --threads 1 --quiet {photo}",
	"evaluate": "evaluate --run run --test test --json --out rows.csv" + common,
	"export":   "export --run run --out again.onnx --images 4 --max-unreadable 0.5" + common,
	"report":   "report run",
	"finished": "finetune --resume --out run --quiet",
	"resume":   "finetune --resume --out half --quiet",
	"config":   "finetune --config run/config.yaml --out other --quiet",
	"warm":     "finetune --train train --test test --epochs 2 --out other" + common,
	"inspect":  "inspect run/model.onnx --json",
	"backbone": "inspect out/model.onnx --json",
	"sweep":    "sweep grid.yaml --out sweep" + common,
	"begun":    "sweep grid.yaml --out begun" + common,
	"resweep":  "sweep sweep/sweep.yaml --out sweep --quiet",
	"sweeps":   "report sweep",
	"verify":   "verify run sweep out cache half",
}

// flips are all kinds of files that are read back, and by whom. Every file of a sealed folder is read by verify.
var flips = []struct {
	file string // a pattern
	by   string
}{
	{"run/config.yaml", "config export report finished verify"},
	{"run/environment.json", "evaluate export report verify"},
	{"run/metrics.json", "evaluate export report finished verify"},
	{"run/labels.txt", "evaluate export verify"},
	{"run/history.jsonl", "report verify"},
	{"run/kappa.csv", "report verify"},
	{"run/predictions.csv", "report verify"},
	{"run/skipped.csv", "report verify"},
	{"run/pictures.json", "report verify"},
	{"run/head.safetensors", "evaluate export verify"},
	{"run/model.onnx", "predict evaluate export inspect verify"},
	{"run/checkpoint/state.gob", "verify"},
	{"run/README.md", "verify"},
	{"run/report.html", "verify"},
	{"run/SHA256SUMS", "predict evaluate export report config verify"},
	{"half/checkpoint/state.gob", "resume verify"},
	{"half/config.yaml", "resume"},
	{"half/environment.json", "resume"},
	{"half/history.jsonl", "resume"},
	{"half/kappa.csv", "resume"},
	{"sweep/sweep.yaml", "resweep sweeps sweep verify"},
	{"sweep/heads/*.json", "sweep verify"},
	{"sweep/heads/*.yaml", "verify"},
	{"begun/heads/*.json", "begun"},
	{"sweep/heads.csv", "sweeps sweep verify"},
	{"sweep/summary.csv", "sweeps sweep verify"},
	{"sweep/SHA256SUMS", "sweeps sweep verify"},
	{"cache/features/*/*.safetensors", "warm evaluate verify"},
	{"cache/features/*/key.json", "warm verify"},
	{"cache/scan/*", "warm"},
	{"cache/copies/*", "warm export verify"},
	{"out/model.onnx", "exported backbone verify"},
	{"out/onnx/model.onnx", "verify"},
	{"out/config.json", "verify"},
	{"out/preprocessor_config.json", "verify"},
}

// A file that is not what was written is noticed by name, with exit code 3; or what it held is made again, or does not
// matter: then the answer and all results are what they are with sound files. VITFT_FLIPS says how often each damage is
// tried: a bit flipped, the end cut off, bytes added, and once another run's file in its place; otherwise one is drawn.
func TestFlips(t *testing.T) {
	photos := photosFor(t)
	most := number(t, "VITFT_FLIPS", 0)
	s := newFlipStage(t, photos)
	total := map[string]int{}
	for i, x := range flips {
		t.Run(strings.ReplaceAll(x.file, "/", ":"), func(t *testing.T) {
			r := rand.New(rand.NewPCG(11, uint64(i)))
			row := map[string]int{}
			for _, by := range strings.Fields(x.by) {
				s.flip(t, x.file, by, most, r, row)
			}
			t.Logf("%-32s by %-46s %v", x.file, x.by, row)
			for k, n := range row {
				total[k] += n
			}
		})
	}
	t.Logf("in all %v", total)
}

type flipStage struct {
	dir, base, foreign string
	photo              string
	sound              map[string]string // what a reader prints and leaves when all is sound
}

// newFlipStage has a run, half a run, a sweep, an export and a cache, and those of another run with other settings.
func newFlipStage(t *testing.T, photos map[string]string) *flipStage {
	s := &flipStage{dir: t.TempDir(), base: t.TempDir(), foreign: t.TempDir(), sound: map[string]string{}}
	s.photo = filepath.Join(photos["test"], "class-a", "000.jpg")
	for _, seed := range []string{"7", "0"} {
		for name, dir := range photos {
			if err := os.Symlink(dir, filepath.Join(s.dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		epochs, loss := "2", "cvs"
		if seed == "7" {
			epochs, loss = "3", "ce"
		}
		testkit.WriteFile(t, filepath.Join(s.dir, "grid.yaml"), []byte("train: train\ntest: test\nepochs: "+epochs+
			"\nseed: "+seed+"\ngrid: [{loss: ["+loss+"]}]\n"))
		testkit.WriteFile(t, filepath.Join(s.dir, "some", "class-a", seed+".jpg"), []byte("no image "+seed))
		for _, of := range []string{"class-a", "class-b", "class-c"} {
			for i := range 2 {
				name := fmt.Sprintf("%03d.jpg", 2*i)
				testkit.WriteFile(t, filepath.Join(s.dir, "some", of, name),
					testkit.ReadFile(t, photos["train"], of, name))
			}
		}
		train := "finetune --train some --test test --max-unreadable 0.5 --seed " + seed + " --epochs " + epochs +
			" --loss " + loss + common
		if seed == "7" { // other classes, too
			train = strings.Replace(train, "--train some", "--train train", 1) + " --backbone vitft-micro-28 --tta=2"
		} else {
			train = strings.Replace(train, "--test test ", "", 1)
		}
		for _, line := range []string{train + " --out run", strings.Replace(readers["warm"], "other", "warmed", 1),
			"export --run run --out out/model.onnx --hf --max-unreadable 0.5" + common, readers["sweep"]} {
			program{s.dir, words(line)}.must(t, "")
		}
		copyAll(t, filepath.Join(s.dir, "sweep"), filepath.Join(s.dir, "begun"))
		if err := os.Remove(filepath.Join(s.dir, "begun", "SHA256SUMS")); err != nil {
			t.Fatal(err)
		}
		half := program{s.dir, words(train + " --out half")}
		numbers, ops := half.points(t)
		if err := os.RemoveAll(filepath.Join(s.dir, "half")); err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(ops, func(op string) bool { return op == "write half/history.jsonl" })
		if code, stderr := half.run(fmt.Sprint("int ", numbers[at])); code != 130 {
			t.Fatalf("half a run: exit code %d: %s", code, stderr)
		}
		to := s.foreign
		if seed == "0" {
			to = s.base
		}
		copyAll(t, s.dir, to)
		if err := os.RemoveAll(s.dir); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(s.dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func copyAll(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-aT", from, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// read runs a reader, and returns what it prints and leaves without times.
func (s *flipStage) read(t *testing.T, by string) (code int, result, stderr string) {
	t.Helper()
	before, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chdir(s.dir); err != nil {
		t.Fatal(err)
	}
	defer os.Chdir(before)
	code, stdout, stderr := vitft(t, words(strings.ReplaceAll(readers[by], "{photo}", s.photo))...)
	if code != 0 {
		return code, "", stderr
	}
	var all strings.Builder
	if by != "verify" { // which counts files
		all.WriteString(seconds.ReplaceAllString(stdout, ""))
	}
	files := snapshot(t, s.dir)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		// What was read may stay damaged where it does not matter, what is set aside stays to be looked at, and a run
		// records what it was warned of.
		if name == "other/warnings.txt" || name == "other/report.html" {
			continue
		}
		if strings.HasPrefix(name, "other/") || strings.HasSuffix(name, ".html") || name == "rows.csv" ||
			name == "again.onnx" || strings.HasPrefix(name, "half/") && by == "resume" ||
			strings.HasPrefix(name, "begun/") && by == "begun" ||
			strings.HasPrefix(name, "sweep/") && strings.Contains(by, "sweep") {
			fmt.Fprintf(&all, "%s\n%s\n", name, files[name])
		}
	}
	return code, all.String(), stderr
}

func (s *flipStage) set(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(s.dir); err != nil {
		t.Fatal(err)
	}
	copyAll(t, s.base, s.dir)
}

func (s *flipStage) flip(t *testing.T, pattern, by string, most int, r *rand.Rand, row map[string]int) {
	t.Helper()
	if _, known := s.sound[by]; !known {
		s.set(t)
		code, result, stderr := s.read(t, by)
		if code != 0 {
			t.Fatalf("%s of sound files: exit code %d: %s", by, code, stderr)
		}
		s.sound[by] = result
	}
	damages := append(slices.Repeat([]int{0, 1, 2}, most), 3)
	if most == 0 {
		damages = []int{r.IntN(4)}
	}
	for _, damage := range damages {
		s.set(t)
		files, err := filepath.Glob(filepath.Join(s.dir, pattern))
		if err != nil || len(files) == 0 {
			t.Errorf("there is no %s", pattern)
			return
		}
		path := files[r.IntN(len(files))]
		content := testkit.ReadFile(t, path)
		what := ""
		switch damage {
		case 3:
			theirs, _ := filepath.Glob(filepath.Join(s.foreign, pattern))
			// Of a model that stands alone nothing says which it should be.
			if len(theirs) == 0 || strings.HasSuffix(pattern, "/model.onnx") && pattern[:4] == "out/" {
				continue
			}
			what, content = "another run's", testkit.ReadFile(t, theirs[0])
		case 0:
			at, bit := r.IntN(len(content)), r.IntN(8)
			what = fmt.Sprintf("bit %d of byte %d flipped", bit, at)
			content[at] ^= 1 << bit
		case 1:
			at := r.IntN(len(content))
			what, content = fmt.Sprintf("cut at byte %d", at), content[:at]
		default:
			what, content = "more at its end", append(content, make([]byte, 1+r.IntN(40))...)
		}
		testkit.WriteFile(t, path, content)
		code, result, stderr := s.read(t, by)
		name, _ := filepath.Rel(s.dir, path)
		switch {
		case code == 0 && result == s.sound[by] && strings.Contains(stderr, "damaged"):
			row["healed"]++
		case code == 0 && result == s.sound[by]:
			row["harmless"]++
		case code == 3 && (strings.Contains(stderr, filepath.Base(name)) || by == "verify"):
			row["named"]++
		default:
			row["SILENT"]++
			if code == 0 {
				t.Log(firstDifference(result, s.sound[by]))
			}
			t.Errorf("%s of %s, %s: exit code %d, another result: %v; %s", what, name, by, code,
				code == 0 && result != s.sound[by], stderr)
		}
	}
}

// firstDifference shows where two texts part.
func firstDifference(a, b string) string {
	at := 0
	for at < min(len(a), len(b)) && a[at] == b[at] {
		at++
	}
	from := max(0, at-100)
	return fmt.Sprintf("…%q, not …%q", a[from:min(len(a), at+100)], b[from:min(len(b), at+100)])
}

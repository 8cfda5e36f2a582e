package main

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/safetensors"
	"github.com/vitft/vitft/internal/disk"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
)

// Tests of what outlives a kill, a full disk and the like start this test program again as vitft itself, with a fault
// at one of the points where it changes files: "list FILE", "kill N", "int N", "28 N" (an errno at the N-th point) or
// "28+ N" (at all points from the N-th on that take up room).
const faultVariable = "VITFT_TEST_FAULT"

func TestMain(m *testing.M) {
	if text, is := os.LookupEnv(natsVariable); is {
		serveNATS(text)
	}
	if what, is := os.LookupEnv(faultVariable); is {
		if what != "" {
			disk.SetFault(faultOf(what))
		}
		main()
	}
	os.Exit(m.Run())
}

func faultOf(text string) disk.Fault {
	kind, arg, _ := strings.Cut(text, " ")
	n, _ := strconv.ParseInt(arg, 10, 64)
	var count atomic.Int64
	signal := func(s syscall.Signal) { _ = syscall.Kill(os.Getpid(), s) }
	return func(op disk.Op, path string) error {
		at := count.Add(1)
		code, full := strings.CutSuffix(kind, "+")
		number, _ := strconv.Atoi(code)
		takesRoom := op == disk.Mkdir || op == disk.Create || op == disk.Write || op == disk.Tear || op == disk.Sync
		switch {
		case kind == "list":
			f, err := os.OpenFile(arg, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
			if err == nil {
				_, err = fmt.Fprintln(f, op, path)
				err = errors.Join(err, f.Close())
			}
			return err
		case kind == "kill" && at == n:
			signal(syscall.SIGKILL)
			select {} // until it comes
		case kind == "int" && at == n:
			signal(syscall.SIGINT)
		case number > 0 && (at == n || full && at > n && takesRoom):
			return syscall.Errno(number)
		}
		return nil
	}
}

// program is vitft as a process of its own in a folder.
type program struct {
	dir  string
	args []string
}

func (p program) with(fault string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], p.args...)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), faultVariable+"="+fault)
	return cmd
}

// run runs it to its end; the exit code is -1 if it was killed.
func (p program) run(fault string) (code int, stderr string) {
	cmd := p.with(fault)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	_ = cmd.Run()
	return cmd.ProcessState.ExitCode(), errs.String()
}

func (p program) must(t *testing.T, fault string) {
	t.Helper()
	if code, stderr := p.run(fault); code != 0 {
		t.Fatalf("vitft %s: exit code %d: %s", strings.Join(p.args, " "), code, stderr)
	}
}

// points are where it changes files, by number from 1. Of the many writes of one file the first two are enough.
func (p program) points(t *testing.T) (numbers []int, ops []string) {
	list := filepath.Join(t.TempDir(), "points")
	p.must(t, "list "+list)
	seen := map[string]int{}
	for i, line := range strings.Split(strings.TrimSpace(string(testkit.ReadFile(t, list))), "\n") {
		if seen[line]++; seen[line] <= 2 || !strings.HasPrefix(line, "write ") && !strings.HasPrefix(line, "tear ") {
			numbers, ops = append(numbers, i+1), append(ops, line)
		}
	}
	return numbers, ops
}

// task is a command whose kills and faults are tried.
type task struct {
	name   string
	ready  [][]string // commands before
	fault  string     // at the last of them
	args   []string
	beside []string // another process that runs at the same time, never killed
	resume bool     // a run that has begun may also be resumed
}

const common = " --cache cache --provider cpu --threads 1 --quiet"

func words(s string) []string { return strings.Fields(s) }

// tasks are all commands that write files.
func tasks(t *testing.T) []task {
	finetune := words("finetune --train train --test test --epochs 4 --batch 8 --views 2 --calibration temperature " +
		"--out run" + common)
	small := words("finetune --train train --test test --epochs 2 --out run" + common)
	grid := testkit.WriteFile(t, filepath.Join(t.TempDir(), "grid.yaml"),
		[]byte("train: train\ntest: test\nepochs: 2\ngrid: [{loss: [ce, la]}]\nseeds: [0, 1]\n"))
	return []task{
		{name: "finetune", args: finetune, resume: true},
		{name: "resume", ready: [][]string{finetune}, fault: "int 90",
			args: words("finetune --resume --out run --quiet")},
		{name: "again", ready: [][]string{small}, args: small},
		{name: "sweep", args: words("sweep " + grid + " --out sweep" + common)},
		{name: "encode", args: words("encode --train train --test test --views 2" + common)},
		{name: "queued",
			args: words("encode --train train --test test --views 2 --adapt norm --queue embedded --task-images 8" +
				common)},
		{name: "shards", args: words("encode --train train --shard 1/2" + common),
			beside: words("encode --train train --shard 2/2" + common)},
		{name: "embed", args: words("embed --train train --test test --out out/deep/features.npy" + common)},
		{name: "prune", ready: [][]string{small}, args: words("cache prune --all --cache cache")},
		{name: "export", ready: [][]string{small},
			args: words("export --run run --out out/deep/model.onnx --hf --precision float16" + common)},
		{name: "evaluate", ready: [][]string{small},
			args: words("evaluate --run run --test train --out rows.csv" + common)},
		{name: "report", ready: [][]string{small}, args: words("report run")},
		{name: "pull", args: words("models pull owner/micro")},
	}
}

// stage makes the folder that a task begins in, again and again: the files of a run name its path.
type stage struct {
	task
	t     *testing.T
	dir   string
	base  string            // what is in it before the task
	files map[string]string // and after the task undisturbed
}

func newStage(t *testing.T, x task, photos map[string]string) *stage {
	s := &stage{task: x, t: t, dir: t.TempDir(), base: t.TempDir()}
	if x.name == "pull" {
		hub(t, nil)
		for _, variable := range []string{"HF_HOME", "XDG_CONFIG_HOME", "HOME", "XDG_CACHE_HOME"} {
			t.Setenv(variable, filepath.Join(s.dir, "home"))
		}
	}
	for name, dir := range photos {
		if err := os.Symlink(dir, filepath.Join(s.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for i, args := range x.ready {
		p := program{s.dir, args}
		if fault := x.fault; i < len(x.ready)-1 || fault == "" {
			p.must(t, "")
		} else if code, stderr := p.run(fault); code != 130 {
			t.Fatalf("interrupted: exit code %d: %s", code, stderr)
		}
	}
	s.copy(s.dir, s.base)
	s.program().must(t, "")
	if x.beside != nil {
		program{s.dir, x.beside}.must(t, "")
	}
	s.files = snapshot(t, s.dir)
	return s
}

// set sets the folder back to before the task.
func (s *stage) set() {
	if err := os.RemoveAll(s.dir); err != nil {
		s.t.Fatal(err)
	}
	s.copy(s.base, s.dir)
}

func (s *stage) copy(from, to string) {
	if out, err := exec.Command("cp", "-aT", from, to).CombinedOutput(); err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
}

func (s *stage) program() program { return program{s.dir, s.args} }

// check runs the task again in a folder where it was disturbed: it succeeds, leaves what an undisturbed one leaves, and
// nothing else.
func (s *stage) check(what string, resume bool) bool {
	p := s.program()
	if _, err := os.Stat(filepath.Join(s.dir, "run", "config.yaml")); resume && s.resume && err == nil {
		p.args = words("finetune --resume --out run --quiet")
		what += ", then --resume"
	}
	for _, args := range [][]string{p.args, s.beside} {
		if args == nil {
			continue
		}
		if code, stderr := (program{s.dir, args}).run(""); code != 0 {
			s.t.Errorf("%s: the next time: exit code %d: %s", what, code, stderr)
			return false
		}
	}
	got := snapshot(s.t, s.dir)
	for _, name := range slices.Sorted(maps.Keys(got)) {
		switch want, is := s.files[name]; {
		case strings.HasPrefix(filepath.Base(name), ".tmp"):
			s.t.Errorf("%s: %s is left", what, name)
		case strings.HasPrefix(name, "run.") || !strings.HasPrefix(name, "run/") && s.name == "again":
		case !is:
			s.t.Errorf("%s: %s is new", what, name)
		case got[name] != want:
			s.t.Errorf("%s: %s is another", what, name)
		default:
			continue
		}
	}
	for name := range s.files {
		// Without copies, and without knowing what was exported, it works as well.
		spared := strings.HasPrefix(name, "cache/copies/") || strings.HasPrefix(name, "cache/exported/")
		if _, is := got[name]; !is && !spared {
			s.t.Errorf("%s: %s is missing", what, name)
		}
	}
	return !s.t.Failed()
}

// seconds are times, and the sums that heads of a sweep have of texts with times.
var seconds = regexp.MustCompile(`"(seconds|encode|train|select|evaluate)": ?[0-9.e+-]+|<dt>Time</dt>.*|` +
	`"sha256": "[0-9a-f]{64}"`)

// snapshot is what is in the files below a folder, by path, as far as two runs agree in it: without times, and of a
// feature store the features.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	features := map[string]map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		folder, base := filepath.Dir(name), filepath.Base(name)
		text := string(testkit.ReadFile(t, path))
		switch {
		case strings.HasPrefix(base, ".tmp"):
		case strings.HasSuffix(name, ".lock"), strings.HasSuffix(folder, "/submitted"): // one for each time
			return nil
		case strings.Contains(folder, "features") && strings.HasSuffix(base, ".safetensors"):
			if features[folder] == nil {
				features[folder] = map[string]string{}
			}
			return errors.Join(err, rows(path, features[folder]))
		case strings.HasPrefix(name, "cache/jobs/"): // names of workers, and times
			text = ""
		case folder == "cache/scan", base == "state.gob", base == "summary.md",
			base == "report.html" && !strings.HasPrefix(name, "run/"):
			text = ""
		case base == artifact.SumsFile:
			text = ""
			sums, fault := artifact.ReadSums(filepath.Dir(path))
			for file := range sums {
				at := filepath.Join(filepath.Dir(path), file)
				fault = errors.Join(fault, sums.Check(filepath.Dir(path), file, testkit.ReadFile(t, at)))
			}
			err = errors.Join(err, fault)
		case strings.HasSuffix(base, ".csv"):
			text = withoutSeconds(text)
		}
		files[name] = seconds.ReplaceAllString(text, "")
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for folder, rows := range features {
		var all strings.Builder
		for _, id := range slices.Sorted(maps.Keys(rows)) {
			fmt.Fprintln(&all, id, rows[id])
		}
		files[filepath.Join(folder, "features")] = all.String()
	}
	return files
}

// rows are the features of a block by image.
func rows(path string, into map[string]string) error {
	f, err := safetensors.Read(path)
	if err != nil {
		return err
	}
	ids, err1 := f.Tensor("ids")
	features, err2 := f.Tensor("features")
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	for i := range ids.Shape[0] {
		width := len(features.Data) / ids.Shape[0]
		id, row := hex.EncodeToString(ids.Data[i*32:(i+1)*32]), hex.EncodeToString(features.Data[i*width:(i+1)*width])
		if cmp.Or(into[id], row) != row {
			return fmt.Errorf("%s: two features of image %s", path, id)
		}
		into[id] = row
	}
	return nil
}

func withoutSeconds(text string) string {
	cells, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil || len(cells) == 0 {
		return text
	}
	at := slices.Index(cells[0], "seconds")
	for _, row := range cells {
		if at >= 0 {
			row[at] = ""
		}
	}
	return fmt.Sprint(cells)
}

// photosFor are small sets of drawn images, old enough that a scan trusts them.
func photosFor(t *testing.T) map[string]string {
	t.Helper()
	ort.Need(t)
	sets := map[string]string{"train": testkit.Folder(t, 1, 9, 6, 4), "test": testkit.Folder(t, 2, 3, 3, 3)}
	for _, dir := range sets {
		testkit.Age(t, dir)
	}
	return sets
}

// eachTask runs every task on a stage of its own, side by side, each with its share of so many tries.
func eachTask(t *testing.T, tries int, run func(t *testing.T, s *stage, i, share int)) {
	photos, all := photosFor(t), tasks(t)
	for i, x := range all {
		share := tries/len(all) + min(1, max(0, tries%len(all)-i))
		t.Run(x.name, func(t *testing.T) {
			if x.name != "pull" { // which sets environment variables
				t.Parallel()
			}
			run(t, newStage(t, x, photos), i, share)
		})
	}
}

// number is an environment variable that makes a test longer than CI has time for.
func number(t *testing.T, variable string, usual int) int {
	t.Helper()
	n, err := strconv.Atoi(cmp.Or(os.Getenv(variable), strconv.Itoa(usual)))
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
)

// computer is vitft on a machine with nothing on it.
type computer struct {
	*testing.T
	home string
}

func newComputer(t *testing.T) *computer { return &computer{t, t.TempDir()} }

func (c *computer) command(args []string) (cmd *exec.Cmd, stderr *bytes.Buffer) {
	cmd, stderr = program{c.home, args}.with(""), new(bytes.Buffer)
	cmd.Env = append(cmd.Env, "HOME="+c.home, "XDG_CACHE_HOME="+filepath.Join(c.home, "cache"))
	cmd.Stderr = stderr
	return cmd, stderr
}

// does runs a command to its end, with that exit code, and wants it to say something.
func (c *computer) does(code int, says string, args []string, more ...string) {
	c.Helper()
	cmd, stderr := c.command(append(args, more...))
	stdout, _ := cmd.Output()
	if got := cmd.ProcessState.ExitCode(); got != code || !strings.Contains(string(stdout)+stderr.String(), says) {
		c.Fatalf("%v %v: exit code %d, %s%s; want %d and %q", args, more, got, stdout, stderr, code, says)
	}
}

// begins runs a command until something is there, and then does something to it.
func (c *computer) begins(until func() bool, then syscall.Signal, args ...string) (cmd *exec.Cmd,
	stderr *bytes.Buffer) {
	c.Helper()
	cmd, stderr = c.command(args)
	if err := cmd.Start(); err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if until() {
			break
		}
		if time.Now().After(deadline) {
			c.Fatalf("it does not come to that; it says %s", stderr)
		}
	}
	if err := cmd.Process.Signal(then); err != nil {
		c.Fatal(err)
	}
	return cmd, stderr
}

// exists waits for a file.
func exists(file string) func() bool {
	return func() bool {
		info, err := place.Stat(file)
		return err == nil && info.Size() > 0
	}
}

// inEachStore tests something in buckets that have photos.
func inEachStore(t *testing.T, test func(t *testing.T, bucket string)) {
	t.Setenv("VITFT_ORT_LIB", ort.Need(t).Path)
	for _, scheme := range testkit.ObjectStores {
		t.Run(scheme, func(t *testing.T) {
			defer place.Forget()
			_, parameters := testkit.ObjectStore(t, scheme, "team")
			uploaded(t, photos(t, 8), scheme+"://team/photos"+parameters)
			test(t, scheme+"://team/")
		})
	}
}

// hasLost lets a machine go on that was stalled while another took over: it ends with that.
func hasLost(t *testing.T, stalled *exec.Cmd, says fmt.Stringer) {
	t.Helper()
	if err := stalled.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if _ = stalled.Wait(); stalled.ProcessState.ExitCode() != 1 || !strings.Contains(says.String(), "has taken over") {
		t.Errorf("the one that lost it: exit code %d, %s", stalled.ProcessState.ExitCode(), says)
	}
}

// A run that goes to an object store goes on on any machine when the one that began it is gone, and is then the run
// that nobody disturbed. One machine at a time writes to it: another is refused, and one that has lost it without
// noticing ends.
func TestRunGoesOnOnAnotherMachine(t *testing.T) { inEachStore(t, goesOn) }

// goesOn tests a run in a bucket that has photos.
func goesOn(t *testing.T, bucket string) {
	begin := words("finetune --train " + bucket + "photos --cache " + bucket + "vitft --adapt adapter --epochs 8 --out")
	newComputer(t).does(0, "run folder", begin, bucket+"runs/undisturbed")

	at := bucket + "runs/x"
	left := func(turn string) func() bool { return exists(at + "/.under-way/" + turn + "/state.gob") }
	resume := words("finetune --resume --out " + at)
	newComputer(t).does(2, "there is no run to go on with in "+at, resume)
	first, _ := newComputer(t).begins(left("000001"), syscall.SIGKILL, append(begin, at)...)
	_ = first.Wait()
	newComputer(t).does(1, "is writing to "+at, resume)
	newComputer(t).does(1, "--take-over", append(begin, at))
	second := newComputer(t)
	stalled, says := second.begins(left("000002"), syscall.SIGSTOP, append(resume, "--take-over")...)
	newComputer(t).does(0, "run folder: "+at, resume, "--take-over")
	hasLost(t, stalled, says)
	last := newComputer(t)
	for _, c := range []*computer{second, last} { // of which one has a part of it
		c.does(0, "run folder: "+at, resume)
	}
	if _, err := place.Stat(at + ".1"); err == nil {
		t.Error("it was published twice")
	}
	if left, err := place.ReadDir(at + "/.under-way"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left are %v, %v", left, err)
	}
	for _, name := range []string{"head.safetensors", "adapter.safetensors", "model.onnx", "predictions.csv",
		"kappa.csv", "config.yaml"} {
		got, err := place.Read(at+"/"+name, 1<<30)
		want, failed := place.Read(bucket+"runs/undisturbed/"+name, 1<<30)
		if err != nil || failed != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is another than that of an undisturbed run: %v, %v", name, err, failed)
		}
	}
	copied, err := place.Fetch(at)
	if err != nil {
		t.Fatal(err)
	}
	last.does(0, "run, finished", []string{"verify", copied})
}

// A sweep that goes to an object store goes on on any machine: heads that are finished are not trained again, one that
// learns inside the backbone goes on from its last checkpoint, and all are those of a sweep that nobody disturbed.
func TestSweepGoesOnOnAnotherMachine(t *testing.T) { inEachStore(t, sweepGoesOn) }

// sweepGoesOn tests a sweep in a bucket that has photos.
func sweepGoesOn(t *testing.T, bucket string) {
	file := experiment(t, "grid: [{loss: [ce, la]}, {adapt: adapter, epochs: 80}]\nepochs: 3\n")
	begin := words("sweep " + file + " --train " + bucket + "photos --test " + bucket + "photos --cache " + bucket +
		"vitft --out")
	newComputer(t).does(0, "sweep folder", begin, bucket+"sweeps/undisturbed")

	at := bucket + "sweeps/x"
	// left are the heads that the first machine has left, by their files, and whether one has begun.
	left := func() (heads map[string][]byte, begun bool) {
		heads = map[string][]byte{}
		entries, _ := place.ReadDir(at + "/.under-way/000001")
		for _, e := range entries {
			begun = begun || filepath.Ext(e.Name()) == ".gob"
			if filepath.Ext(e.Name()) == ".json" && e.Name() != "taken.json" {
				heads[e.Name()], _ = place.Read(at+"/.under-way/000001/"+e.Name(), 1<<30)
			}
		}
		return heads, begun
	}
	first, _ := newComputer(t).begins(func() bool { heads, begun := left(); return len(heads) == 2 && begun },
		syscall.SIGKILL, append(begin, at)...)
	_ = first.Wait()
	before, _ := left()
	stalled, says := newComputer(t).begins(exists(at+"/.under-way/000002/sweep.yaml"), syscall.SIGSTOP,
		append(begin, at, "--take-over")...)
	last := newComputer(t)
	last.does(0, fmt.Sprint("finished before=", len(before)), begin, at, "--take-over")
	hasLost(t, stalled, says)
	if left, err := place.ReadDir(at + "/.under-way"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left are %v, %v", left, err)
	}
	kept := 0
	for name, content := range before {
		if got, err := place.Read(at+"/heads/"+name, 1<<30); err == nil && bytes.Equal(got, content) {
			kept++
		}
	}
	if kept != len(before) {
		t.Errorf("%d of %d finished heads are those of the first machine", kept, len(before))
	}
	seconds := regexp.MustCompile(`(?s)"seconds": \{.*?\}|"sha256": ".*?"`)
	entries, err := place.ReadDir(bucket + "sweeps/undisturbed/heads")
	if err != nil || len(entries) != 6 {
		t.Fatal(entries, err)
	}
	for _, e := range entries {
		want, failed := place.Read(bucket+"sweeps/undisturbed/heads/"+e.Name(), 1<<30)
		got, err := place.Read(at+"/heads/"+e.Name(), 1<<30)
		if err != nil || failed != nil || !bytes.Equal(seconds.ReplaceAll(got, nil), seconds.ReplaceAll(want, nil)) {
			t.Errorf("head %s is another than that of an undisturbed sweep: %v, %v", e.Name(), err, failed)
		}
	}
	// The same command once more trains nothing, on any machine.
	newComputer(t).does(0, "finished before=3", begin, at)
}

// A run in a folder that machines share, which file:// may name, goes on there too, with another cache.
func TestRunGoesOnInASharedFolder(t *testing.T) {
	t.Setenv("VITFT_ORT_LIB", ort.Need(t).Path)
	train, shared := photos(t, 8), t.TempDir()
	begin := words("finetune --adapt adapter --epochs 8 --train " + train + " --out")
	newComputer(t).does(0, "run folder", begin, filepath.Join(shared, "undisturbed"))
	at := filepath.Join(shared, "x")
	first := newComputer(t)
	cmd, _ := first.begins(exists(filepath.Join(at, "history.jsonl")), syscall.SIGKILL, append(begin, "file://"+at)...)
	_ = cmd.Wait()
	if err := os.RemoveAll(first.home); err != nil {
		t.Fatal(err)
	}
	second := newComputer(t)
	second.does(0, "run folder", words("finetune --resume --out file://"+at))
	for _, name := range []string{"head.safetensors", "adapter.safetensors", "model.onnx", "predictions.csv"} {
		if !bytes.Equal(testkit.ReadFile(t, at, name), testkit.ReadFile(t, shared, "undisturbed", name)) {
			t.Errorf("%s is another than that of an undisturbed run", name)
		}
	}
	if _, err := os.Stat(first.home); err == nil {
		t.Error("the cache of the first machine is made anew")
	}
	second.does(0, "run, finished", []string{"verify", at})
}

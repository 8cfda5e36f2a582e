package store

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/internal/disk"
)

// These tests start this test program again as a process of its own that writes to the store, and kill it.

const (
	childEnv  = "VITFT_STORE_TEST_CHILD"
	childDim  = 16
	childSize = 8 // features in a block
)

func TestMain(m *testing.M) {
	if args := os.Getenv(childEnv); args != "" {
		if err := child(strings.Split(args, "\n")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// hold for stopBlock keeps the process alive after its last image, so that whoever kills it finds it there however fast
// it was.
const hold = -1

// child appends the features of images first to last-1, printing each, and stops for ever at the given step of block
// number stopBlock (from 0).
func child(args []string) error {
	ctx := context.Background()
	dir, step := args[0], disk.Op(args[3])
	first, _ := strconv.Atoi(args[1])
	last, _ := strconv.Atoi(args[2])
	stopBlock, _ := strconv.Atoi(args[4])

	s, _, err := Open(ctx, bucket.Dir(dir), testKey(childDim))
	if err != nil {
		return err
	}
	w, err := s.Writer(ctx, WriterOptions{BlockSize: childSize})
	if err != nil {
		return err
	}
	block := 0
	disk.SetFault(func(at disk.Op, _ string) error {
		if at == step && block == stopBlock {
			fmt.Println("stopped")
			untilKilled()
		}
		return nil
	})
	for i := first; i < last; i++ {
		if err := w.Append(ctx, testID(i), fmt.Sprint(i), testFeature(i, childDim)); err != nil {
			return err
		}
		if (i-first+1)%childSize == 0 {
			block++
		}
		fmt.Println(i)
	}
	if stopBlock == hold {
		untilKilled()
	}
	if err := w.Close(ctx); err != nil {
		return err
	}
	return s.Close()
}

// untilKilled waits. An empty select would not do: the runtime takes it for a deadlock when nothing else is left to
// run.
func untilKilled() {
	for {
		time.Sleep(time.Hour)
	}
}

func start(t *testing.T, dir string, first, last int, step disk.Op, stopBlock int) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+strings.Join([]string{dir, fmt.Sprint(first), fmt.Sprint(last),
		string(step), fmt.Sprint(stopBlock)}, "\n"))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd, bufio.NewScanner(out)
}

// await reads until the process prints want.
func await(t *testing.T, out *bufio.Scanner, want string) {
	t.Helper()
	for out.Scan() {
		if out.Text() == want {
			return
		}
	}
	t.Fatalf("process ended before it printed %q", want)
}

func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil { // SIGKILL
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("process was not killed")
	}
}

// A process killed at any step of publishing its third block loses that block at most. Its temporary file is removed
// once it is dead, not before.
func TestKilled(t *testing.T) {
	const n = 5 * childSize
	for _, c := range []struct {
		step disk.Op
		temp bool // a temporary file is there
		kept int  // blocks
	}{
		{disk.Create, false, 2},
		{disk.Write, true, 2},
		{disk.Sync, true, 2},
		{disk.Link, true, 2},
		{disk.SyncDir, false, 3},
	} {
		t.Run(string(c.step), func(t *testing.T) {
			dir := t.TempDir()
			cmd, out := start(t, dir, 0, n, c.step, 2)
			await(t, out, "stopped")

			living, report := mustOpen(t, dir, testKey(childDim))
			if len(report.Removed) != 0 || len(report.Bad) != 0 || living.Len() != c.kept*childSize {
				t.Errorf("while it lives: %d features, report %+v", living.Len(), report)
			}
			if got := len(files(t, living, ".tmp-*")) == 1; got != c.temp {
				t.Errorf("temporary file there: %v, want %v", got, c.temp)
			}

			kill(t, cmd)
			s, report := mustOpen(t, dir, testKey(childDim))
			if (len(report.Removed) == 1) != c.temp || len(report.Bad) != 0 || len(files(t, s, ".tmp-*")) != 0 {
				t.Errorf("after its death: report %+v", report)
			}
			check(t, s, c.kept*childSize)
			fill(t, s, childSize, upTo(n)) // resume
			check(t, s, n)
		})
	}
}

// Two processes write at once, one is killed at a random moment; then both resume. Nothing is wrong or lost beyond a
// block.
func TestTwoProcesses(t *testing.T) {
	const n = 30 * childSize
	dir := t.TempDir()
	// Their ranges overlap in the middle third.
	a, outA := start(t, dir, 0, 2*n/3, "", 0)
	b, outB := start(t, dir, n/3, n, "", hold)
	await(t, outB, fmt.Sprint(n/3+5*childSize+3))
	// Opening meanwhile must disturb neither.
	mustOpen(t, dir, testKey(childDim))
	kill(t, b)
	for outA.Scan() {
	}
	if err := a.Wait(); err != nil {
		t.Fatal("the other process failed: ", err)
	}

	s, report := mustOpen(t, dir, testKey(childDim))
	if len(report.Bad) != 0 {
		t.Errorf("report %+v", report)
	}
	check(t, s, 2*n/3)
	s.Close()

	again, out := start(t, dir, 0, n, "", 0)
	for out.Scan() {
	}
	if err := again.Wait(); err != nil {
		t.Fatal(err)
	}
	s, report = mustOpen(t, dir, testKey(childDim))
	if report.Features != n || len(report.Bad)+len(report.Removed) != 0 {
		t.Errorf("report %+v", report)
	}
	check(t, s, n)
}

// Killed again and again at arbitrary moments, a job still gets done, and every run keeps all but a block of what it
// did.
func TestKilledAtRandom(t *testing.T) {
	const n = 40 * childSize
	dir := t.TempDir()
	for round := range 6 {
		s, _ := mustOpen(t, dir, testKey(childDim))
		before := s.Len()
		s.Close()
		cmd, out := start(t, dir, 0, n, "", hold)
		await(t, out, fmt.Sprint(min(before+3*childSize+round, n-1)))
		time.Sleep(time.Duration(round) * time.Millisecond)
		kill(t, cmd)
		s, report := mustOpen(t, dir, testKey(childDim))
		if len(report.Bad) != 0 || s.Len() < min(n, before+2*childSize) {
			t.Fatalf("round %d: %d features after %d; report %+v", round, s.Len(), before, report)
		}
		check(t, s, s.Len())
		s.Close()
	}
}

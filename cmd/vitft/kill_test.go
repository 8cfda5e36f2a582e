package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Whenever a command is killed, the same command again leaves what an undisturbed one leaves, to the byte, and nothing
// else: no temporary file, no folder that is stuck. VITFT_KILLS says how many kills there are in all; most are before a
// change of files, all of which get their turn as long as there are kills, some at a moment that is drawn, with -9,
// TERM or INT. Every fourth is followed by another kill.
func TestKills(t *testing.T) {
	eachTask(t, number(t, "VITFT_KILLS", 30), func(t *testing.T, s *stage, i, share int) {
		landed := s.kills(share, rand.New(rand.NewPCG(9, uint64(i))))
		t.Logf("%d folders, %d processes ended", share, landed)
	})
}

func (s *stage) kills(n int, r *rand.Rand) (landed int) {
	begin := time.Now()
	s.set()
	numbers, ops := s.program().points(s.t)
	took := time.Since(begin)
	atPoints := n - n/4
	for i := range n {
		s.set()
		var said []string
		for round := range 1 + (i%4)/3 {
			point := r.IntN(len(numbers))
			if round == 0 {
				point = (i*len(numbers)/max(1, atPoints) + i/len(numbers)) % len(numbers)
			}
			what, ended := fmt.Sprintf("killed before %s", ops[point]), false
			if i < atPoints {
				ended = s.end(fmt.Sprint("kill ", numbers[point]), 0, 0)
			} else {
				signal := []syscall.Signal{syscall.SIGKILL, syscall.SIGKILL, syscall.SIGTERM, syscall.SIGINT}[r.IntN(4)]
				after := time.Duration(r.Int64N(int64(took)))
				what, ended = fmt.Sprintf("%v after %v", signal, after), s.end("", signal, after)
			}
			said = append(said, what)
			if ended {
				landed++
			}
		}
		if !s.check(strings.Join(said, ", then "), i%2 == 1) {
			keep := filepath.Join(os.TempDir(), "vitft-killed-"+s.name)
			_ = os.RemoveAll(keep)
			_ = os.Rename(s.dir, keep)
			s.t.Fatalf("the folder is kept: %s", keep)
		}
	}
	return landed
}

// end runs the task, beside its other process if it has one, and ends it; false if it was faster.
func (s *stage) end(fault string, signal syscall.Signal, after time.Duration) bool {
	cmd := s.program().with(fault)
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if s.beside != nil {
			if code, stderr := (program{s.dir, s.beside}).run(""); code != 0 {
				s.t.Errorf("beside one that is killed: exit code %d: %s", code, stderr)
			}
		}
	}()
	if signal != 0 {
		time.Sleep(after)
		_ = cmd.Process.Signal(signal)
	}
	_ = cmd.Wait()
	<-done
	return cmd.ProcessState.ExitCode() != 0
}

package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// diskFaults are what a change of files is failed with, and what the message must then say can be done.
var diskFaults = []struct {
	fault string
	errno syscall.Errno
	cure  string
}{
	{"full from then on", syscall.ENOSPC, "make room"}, {"full", syscall.ENOSPC, "make room"},
	{"I/O error", syscall.EIO, "this disk fails"}, {"forbidden", syscall.EACCES, "writable"},
}

// Whenever a change of files fails, a command either does without it and ends well, or ends with exit code 1 and says
// where and what can be done; nothing is lost, and the same command goes on. VITFT_FAULTS says how many faults there
// are.
func TestDiskFaults(t *testing.T) {
	eachTask(t, number(t, "VITFT_FAULTS", 30), func(t *testing.T, s *stage, i, share int) {
		s.set()
		numbers, ops := s.program().points(t)
		refused := 0
		r := rand.New(rand.NewPCG(10, uint64(i)))
		for n := range share {
			f := diskFaults[(n+i)%len(diskFaults)]
			at := (n*len(numbers)/share + r.IntN(3)) % len(numbers)
			plus := ""
			if f.fault == "full from then on" {
				plus = "+"
			}
			s.set()
			code, stderr := s.program().run(fmt.Sprintf("%d%s %d", int(f.errno), plus, numbers[at]))
			what := fmt.Sprintf("%s: %s", f.fault, ops[at])
			_, path, _ := strings.Cut(ops[at], " ")
			place := filepath.Base(filepath.Dir(path))
			// It may be another change that cannot be done without; a pull comes in other pieces each time.
			if plus != "" || place == "." || s.name == "pull" {
				place = ""
			}
			switch {
			case code == 0:
			case code != 1 || !strings.Contains(stderr, f.cure) || !strings.Contains(stderr, place):
				t.Errorf("%s: exit code %d, and no %q and %q in: %s", what, code, f.cure, place, stderr)
			default:
				refused++
			}
			s.check(what, n%2 == 1)
		}
		t.Logf("%d faults, %d of which ended it", share, refused)
	})
}

// On a disk that is really full the same holds, for all commands if VITFT_FAULTS is set. It takes the right to mount a
// file system.
func TestFullDisk(t *testing.T) {
	photos := photosFor(t)
	rooms := []int{8, 200, 900, 3000, 9000} // kilobytes
	for i, x := range tasks(t) {
		if x.name == "pull" || i > 0 && os.Getenv("VITFT_FAULTS") == "" {
			continue
		}
		s := newStage(t, x, photos)
		for _, kilobytes := range rooms {
			s.set()
			size := fmt.Sprintf("size=%dk", kilobytes+folderSize(t, s.base)/1024)
			out, err := exec.Command("mount", "-t", "tmpfs", "-o", size, "tmpfs", s.dir).CombinedOutput()
			if err != nil {
				t.Skipf("a small file system cannot be mounted here: %v: %s", err, out)
			}
			mounted := true
			unmount := func() {
				if mounted {
					if out, err := exec.Command("umount", "-l", s.dir).CombinedOutput(); err != nil {
						t.Errorf("%v: %s", err, out)
					}
				}
				mounted = false
			}
			t.Cleanup(unmount)
			s.copy(s.base, s.dir)
			code, stderr := s.program().run("")
			if code != 0 && (code != 1 || !strings.Contains(stderr, "make room")) {
				t.Errorf("%s, %d kB free: exit code %d: %s", x.name, kilobytes, code, stderr)
			}
			if out, err := exec.Command("mount", "-o", "remount,size=100m", s.dir).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			s.check(fmt.Sprintf("%s, %d kB free, exit code %d", x.name, kilobytes, code), false)
			unmount()
		}
	}
}

func folderSize(t *testing.T, dir string) (bytes int) {
	err := filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil {
			bytes += int(info.Size()) + 4096
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

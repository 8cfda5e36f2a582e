package userfile_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/internal/userfile"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	file, pipe := filepath.Join(dir, "file"), filepath.Join(dir, "pipe")
	want := bytes.Repeat([]byte("content\n"), 1000)
	if err := errors.Join(os.WriteFile(file, want, 0o600), syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, read := range []func(string, int64) ([]byte, error){userfile.Read, userfile.ReadAny} {
		if got, err := read(file, int64(len(want))); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if _, err := read(filepath.Join(dir, "none"), userfile.Small); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("no file: %v", err)
		}
		for path, most := range map[string]int64{file: int64(len(want)) - 1, dir: userfile.Large} {
			if _, err := read(path, most); err == nil || fault.Of(err) != fault.Data ||
				!strings.Contains(err.Error(), path) {
				t.Errorf("%s within %d: %v", path, most, err)
			}
		}
	}
	for _, path := range []string{pipe, "/dev/zero"} {
		if _, err := userfile.Read(path, userfile.Small); fault.Of(err) != fault.Data {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := userfile.ReadAny("/dev/zero", userfile.Small); fault.Of(err) != fault.Data {
		t.Errorf("without an end: %v", err)
	}
	go os.WriteFile(pipe, want, 0)
	if got, err := userfile.ReadAny(pipe, int64(len(want))); err != nil || !bytes.Equal(got, want) {
		t.Errorf("a pipe: %d bytes, %v", len(got), err)
	}
}

// What says a size of 0 and has content, as files of /proc do, is read, too.
func TestReadWithoutSize(t *testing.T) {
	if got, err := userfile.Read("/proc/self/status", userfile.Text); errors.Is(err, fs.ErrNotExist) {
		t.Skip(err)
	} else if err != nil || !bytes.Contains(got, []byte("VmRSS")) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

package machine

import (
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
)

func TestMemory(t *testing.T) {
	const little = 100 << 20
	before := debug.SetMemoryLimit(little)
	defer debug.SetMemoryLimit(before)
	if got := Memory(); got != little {
		t.Errorf("%d of GOMEMLIMIT %d", got, little)
	}
	debug.SetMemoryLimit(math.MaxInt64)
	if got := Memory(); got < little {
		t.Errorf("this machine has %d bytes", got)
	}
}

// Go's garbage collector keeps within what there is, less a rest, or within what GOMEMLIMIT says.
func TestMakeDo(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(math.MaxInt64))
	t.Setenv("GOMEMLIMIT", "off")
	MakeDo()
	all := Memory()
	if got := debug.SetMemoryLimit(-1); got != math.MaxInt64 {
		t.Errorf("%d, where GOMEMLIMIT is off", got)
	}
	if err := os.Unsetenv("GOMEMLIMIT"); err != nil {
		t.Fatal(err)
	}
	MakeDo()
	if got := debug.SetMemoryLimit(-1); got > all-64<<20 || got < all/2 || got != Memory() {
		t.Errorf("%d of %d, and there are %d", got, all, Memory())
	}
}

func TestControlGroup(t *testing.T) {
	for name, c := range map[string]struct {
		self  string
		files map[string]string
		want  int64
	}{
		"none":      {"0::/\n", nil, math.MaxInt64},
		"version 2": {"0::/a/b\n", map[string]string{"a/b/memory.max": "max\n", "a/memory.max": "2000\n"}, 2000},
		"container": {"0::/\n", map[string]string{"memory.max": "3000\n"}, 3000},
		"version 1": {"3:cpu,cpuacct:/x\n2:memory:/x\n", map[string]string{
			"memory/x/memory.limit_in_bytes": "4000", "memory/memory.limit_in_bytes": "9223372036854771712"}, 4000},
		"no Linux": {"", map[string]string{"memory.max": "5"}, math.MaxInt64},
	} {
		root := t.TempDir()
		put := func(path, text string) {
			path = filepath.Join(root, path)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		put("proc/self/cgroup", c.self)
		for path, text := range c.files {
			put(filepath.Join("sys/fs/cgroup", path), text)
		}
		if got := controlGroup(root); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

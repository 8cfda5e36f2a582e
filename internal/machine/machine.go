// Package machine says how much memory a program has, and has it make do with that.
package machine

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

// Memory is how many bytes this process may take at most: those of the machine, the limits of its control group and of
// ulimit, and GOMEMLIMIT, whichever is least. Where none is known it is the largest number.
func Memory() int64 {
	return min(debug.SetMemoryLimit(-1), installed(), controlGroup("/"), ulimit())
}

// MakeDo tells Go's garbage collector how much there is, unless GOMEMLIMIT does: it would let garbage take as much as
// what is in use once more, and a control group ends the process for that. A tenth is left, or 64 MiB if that is more,
// and half at most, for what is not Go's; it counts as memory that is not there.
func MakeDo() {
	if _, set := os.LookupEnv("GOMEMLIMIT"); set {
		return
	}
	if all := Memory(); all < math.MaxInt64 {
		debug.SetMemoryLimit(all - min(max(all/10, 64<<20), all/2))
	}
}

// installed reads what Linux says.
func installed() int64 {
	text, _ := os.ReadFile("/proc/meminfo")
	var kB int64
	if _, err := fmt.Sscanf(string(text), "MemTotal: %d kB", &kB); err != nil {
		return math.MaxInt64
	}
	return kB << 10
}

// controlGroup is the least limit of the process's control group and those above it, of either version, in a file
// system.
func controlGroup(root string) int64 {
	least := int64(math.MaxInt64)
	text, _ := os.ReadFile(path.Join(root, "proc/self/cgroup"))
	for line := range strings.Lines(string(text)) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, group, ok := strings.Cut(rest, ":")
		dir, file := "sys/fs/cgroup", "memory.max"
		if controllers == "memory" {
			dir, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		} else if controllers != "" || !ok {
			continue
		}
		for ; ; group = path.Dir(group) { // a container may see its own group as the root
			limit, _ := os.ReadFile(path.Join(root, dir, group, file))
			if n, err := strconv.ParseInt(strings.TrimSpace(string(limit)), 10, 64); err == nil { // else "max"
				least = min(least, n)
			}
			if group == "/" || group == "." {
				break
			}
		}
	}
	return least
}

// Check refuses what takes more bytes than there are; the text says what that is.
func Check(bytes float64, format string, args ...any) error {
	has := float64(Memory())
	if bytes <= has {
		return nil
	}
	return shortage(fmt.Sprintf("%s takes %.4g GiB of memory; there are %.4g GiB", fmt.Sprintf(format, args...),
		bytes/(1<<30), has/(1<<30)))
}

// Short says whether err is that of [Check]: what cannot be read for it may be whole.
func Short(err error) bool {
	_, is := errors.AsType[shortage](err)
	return is
}

// shortage says that settings ask for too much.
type shortage string

func (s shortage) Error() string { return string(s) }
func (shortage) Kind() string    { return "config" }

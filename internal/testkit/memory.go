package testkit

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

// status is a figure of /proc/self/status in bytes.
func status(t testing.TB, key string) (n int64) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("resident memory is not told here:", err)
	}
	_, rest, _ := strings.Cut(string(text), key+":")
	if _, err := fmt.Sscan(rest, &n); err != nil {
		t.Fatal(err)
	}
	return n << 10
}

// PeakMemoryWithin is PeakMemory of f where Go's garbage collector is to keep the growth within some bytes, as it is to
// keep a program within its machine's memory: garbage is gone before that is passed, what is in use is not.
func PeakMemoryWithin(t testing.TB, bytes int64, f func()) int64 {
	t.Helper()
	debug.FreeOSMemory()
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(int64(now.Sys-now.HeapReleased) + bytes))
	return PeakMemory(t, f)
}

// PeakMemory is how much the resident memory grows at most while f runs.
func PeakMemory(t testing.TB, f func()) int64 {
	t.Helper()
	debug.FreeOSMemory()
	before := status(t, "VmRSS")
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil { // forget the peak so far
		t.Skip("the peak cannot be measured here:", err)
	}
	f()
	return status(t, "VmHWM") - before
}

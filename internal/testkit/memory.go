package testkit

import (
	"fmt"
	"os"
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

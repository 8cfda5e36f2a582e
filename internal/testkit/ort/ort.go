// Package ort is for tests that run models: it skips them, aloud, where no runtime library is installed.
package ort

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/vitft/vitft/onnx"
)

// Need skips a test without a runtime library, and returns the library.
func Need(t testing.TB) onnx.Library {
	t.Helper()
	library, err := onnx.Find("")
	if err != nil {
		t.Skipf("ONNX Runtime is missing (make setup): %v", err)
	}
	return library
}

// Main is TestMain for a package whose examples need the library: an example cannot skip itself.
func Main(m *testing.M) {
	if _, err := onnx.Find(""); err != nil {
		fmt.Fprintln(os.Stderr, "examples are skipped: ONNX Runtime is missing (make setup)")
		flag.Set("test.skip", "^Example")
	}
	m.Run() // which leaves the exit code to the program around it
}

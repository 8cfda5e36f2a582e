package engine

import (
	"github.com/vitft/vitft/engine/report"
	"github.com/vitft/vitft/engine/run"
)

// Report writes the report.html of a finished run or sweep anew, from the other files of its folder, and returns its
// path.
func Report(dir string) (string, error) {
	return "", nil
}

package testkit

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// NOTICE names every module that is linked, with its licence.
func TestNoticeIsComplete(t *testing.T) {
	cmd := exec.Command("bash", filepath.Join(Root(), "scripts", "notice.sh"))
	want, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := ReadFile(t, Root(), "NOTICE"); string(got) != string(want) {
		t.Error("NOTICE is not what the modules say: scripts/notice.sh > NOTICE")
	}
}

//go:build unix

package main

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitft/vitft/internal/testkit"
)

// Files of images that claim more than there is are refused by name with exit code 3, in little memory.
func TestClaimsOfFilesOfImages(t *testing.T) {
	dir := t.TempDir()
	footer := func(claimed uint32, text string) string {
		return "PAR1" + text + string(binary.LittleEndian.AppendUint32(nil, claimed)) + "PAR1"
	}
	var bomb bytes.Buffer
	z := zip.NewWriter(&bomb)
	for _, name := range []string{"a/1.png", "b/2.png"} {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write(make([]byte, 100<<20))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	header := fmt.Sprintf("%-100s0000644\x000000000\x000000000\x0077777777777\x0000000000000\x00        0", "a/1.png")
	header = strings.ReplaceAll(header[:100], " ", "\x00") + header[100:] + strings.Repeat("\x00", 100) + "ustar\x0000"
	header += strings.Repeat("\x00", 512-len(header))
	sum := 0
	for _, b := range []byte(header) {
		sum += int(b)
	}
	header = header[:148] + fmt.Sprintf("%06o\x00 ", sum) + header[156:]
	for name, content := range map[string]string{
		"footer.parquet": footer(1<<31, ""), "list.parquet": footer(7, "\x29\xfc\xff\xff\xff\x07\x00"),
		"claim.tar": header + strings.Repeat("\x00", 1024), "bomb.zip": bomb.String(),
	} {
		path := testkit.WriteFile(t, filepath.Join(dir, name), []byte(content))
		cmd := exec.Command("sh", "-c", `ulimit -v 4000000; exec "$0" "$@"`, os.Args[0], "encode", "--provider", "cpu",
			"--cache", filepath.Join(dir, "cache"), "--train", path)
		cmd.Env = append(os.Environ(), faultVariable+"=")
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != 3 || !strings.Contains(string(out), path) {
			t.Errorf("%s: exit code %d: %s", name, code, out)
		}
	}
}

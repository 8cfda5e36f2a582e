//go:build unix

package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitft/vitft/internal/testkit/ort"
)

// A build with the tag slim links no cloud and no queue, says so to whoever names one, and does the rest.
func TestSlim(t *testing.T) {
	library := ort.Need(t)
	t.Setenv("VITFT_ORT_LIB", library.Path)
	linked, err := exec.Command("go", "list", "-deps", "-tags", "slim", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for path := range strings.FieldsSeq(string(linked)) {
		for _, left := range []string{"gocloud.dev", "github.com/aws/", "github.com/Azure/", "cloud.google.com/",
			"github.com/nats-io/", "github.com/envoyproxy/", "k8s.io/"} {
			if strings.HasPrefix(path, left) {
				t.Errorf("it links %s", path)
			}
		}
	}
	program, images, home := built(t, "-tags", "slim"), photos(t, 12), t.TempDir()
	for _, c := range []struct {
		args string
		code int
	}{
		{"encode --train IMAGES --cache s3://team/vitft", 2},
		{"encode --train IMAGES --queue embedded", 2},
		{"worker --queue nats://localhost --cache /tmp", 2},
		{"worker", 2},
		{"status", 2},
		{"encode --train IMAGES --cache HERE", 0},
		{"--help", 0},
	} {
		args := strings.NewReplacer("IMAGES", images, "HERE", filepath.Join(home, "cache")).Replace(c.args)
		cmd := exec.Command(program, strings.Fields(args)...)
		said, err := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != c.code ||
			c.code == 2 && !strings.Contains(string(said), "go install github.com/vitft/vitft/cmd/vitft@latest") {
			t.Errorf("%s: exit code %d, %v\n%s", c.args, code, err, said)
		}
	}
}

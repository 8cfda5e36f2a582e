package jpeg

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/vitft/vitft/internal/testkit"
)

// photoDigests are digests of what Pillow sees in real photos; hash_photos.py explains.
type photoDigests struct{ Photos, Folders map[string]string }

func TestPhotosEqualPillow(t *testing.T) {
	dir := testkit.Shared(t, "data", "imagenet_sanity20")
	var want photoDigests
	if err := readJSON("photos.json", &want); err != nil || len(want.Photos) != 20 {
		t.Fatalf("%d photos: %v", len(want.Photos), err)
	}
	for name, want := range want.Photos {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := digest(mustDecode(t, nil, data)); got != want {
			t.Errorf("%s: other pixels than Pillow's: digest %s, want %s", name, got, want)
		}
	}
}

// All 8,677 photos of Caltech-101.
func TestCaltech101EqualsPillow(t *testing.T) {
	if testing.Short() {
		t.Skip("many photos")
	}
	archive := testkit.Shared(t, "data", "caltech101.tar.zst")
	var want photoDigests
	if err := readJSON("photos.json", &want); err != nil || len(want.Folders) != 202 {
		t.Fatalf("%d folders: %v", len(want.Folders), err)
	}
	type photo struct {
		name string
		data []byte
	}
	photos := make(chan photo)
	sums := map[string]map[string][]byte{} // by folder and name
	var wait sync.WaitGroup
	var lock sync.Mutex
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			var pix []byte
			for p := range photos {
				var err error
				if pix, _, err = Decode(pix, p.data); err != nil {
					t.Errorf("%s: %v", p.name, err)
				}
				sum := sha256.Sum256(pix)
				folder, name := path.Split(p.name)
				lock.Lock()
				if sums[folder] == nil {
					sums[folder] = map[string][]byte{}
				}
				sums[folder][name] = sum[:]
				lock.Unlock()
			}
		})
	}
	zstd := exec.Command("zstd", "-dc", archive)
	stream, err := zstd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := zstd.Start(); err != nil {
		t.Skip("unpacking needs zstd: ", err)
	}
	for r := tar.NewReader(stream); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if path.Ext(h.Name) != ".jpg" {
			continue
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		photos <- photo{path.Clean(h.Name), data}
	}
	close(photos)
	wait.Wait()
	if err := zstd.Wait(); err != nil {
		t.Fatal(err)
	}
	all := 0
	for folder, want := range want.Folders {
		sums := sums[folder+"/"]
		hash := sha256.New()
		for _, name := range slices.Sorted(maps.Keys(sums)) {
			hash.Write(sums[name])
		}
		if got := fmt.Sprintf("%d %s", len(sums), hex.EncodeToString(hash.Sum(nil)[:8])); got != want {
			t.Errorf("%s: number and digest of the photos are %s, Pillow's are %s", folder, got, want)
		}
		all += len(sums)
	}
	t.Logf("%d photos", all)
}

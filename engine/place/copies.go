package place

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/internal/atomicfile"
	"github.com/vitft/vitft/internal/disk"
	"github.com/vitft/vitft/internal/userfile"
)

// Here is the default cache folder of this machine.
func Here() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "vitft")
}

// mostInRun is how many files a folder may have that is copied as a whole.
const mostInRun = 1000

// besides are the files that may belong to a model, in its folder and the one above.
var besides = []string{"preprocessor_config.json", "processor_config.json", "config.json", "open_clip_config.json"}

// Fetch is the path of a model, or the folder of a run, on this machine: of one in an object store that of a copy in
// the cache folder, which is made anew where it is not what the store has. With a model come the files beside it whose
// names begin with its own, as those of external data do, and what libraries keep its preprocessing in.
func Fetch(name string) (string, error) {
	name, err := Named(name)
	if err != nil || !IsURL(name) {
		return name, err
	}
	defer Hold()()
	info, err := Stat(name)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return fetchModel(name, info)
	}
	files, err := below(name)
	if err != nil {
		return "", err
	}
	to, err := copyOf(name)
	if err != nil {
		return "", err
	}
	there := map[string]bool{}
	for _, file := range files {
		info, err := Stat(file)
		if err == nil {
			err = fetch(file, info)
		}
		if err != nil {
			return "", err
		}
		there[filepath.Join(to, filepath.FromSlash(file[len(name):]))] = true
	}
	return to, filepath.WalkDir(to, func(at string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && !strings.HasPrefix(e.Name(), ".") && !there[at] {
			err = disk.Delete(at) // it is of a run that was there before
		}
		return err
	})
}

// below are the files in a folder, which must not be more than a run has.
func below(folder string) (files []string, err error) {
	entries, err := ReadDir(folder)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		inside := []string{Join(folder, e.Name())}
		if e.IsDir() && err == nil {
			inside, err = below(inside[0])
		}
		if files = append(files, inside...); err == nil && len(files) > mostInRun {
			err = fault.Data.Errorf("%s is no run folder: it has more than %d files", folder, mostInRun)
		}
	}
	return files, err
}

func fetchModel(url string, info fs.FileInfo) (string, error) {
	folder := Dir(url)
	s, _, err := storeOf(url)
	if err != nil {
		return "", err
	}
	_, key := cut(url)
	var data []string
	if err := s.List(key, func(o Object) bool { // one may begin as another ends: model.onnx, model.onnx_data
		if name := o.Key[strings.LastIndexByte(key, '/')+1:]; o.Key != key && !strings.Contains(name, "/") {
			data = append(data, name)
		}
		return len(data) < mostInRun
	}); err != nil {
		return "", err
	}
	for _, name := range append(data, besides...) {
		for _, at := range []string{Join(folder, name), Join(Dir(folder), name)} {
			info, err := Regular(at)
			if errors.Is(err, fs.ErrNotExist) || errors.As(err, new(userfile.Refusal)) || at == Dir(at) {
				continue
			} else if err == nil {
				err = fetch(at, info)
			}
			if err != nil {
				return "", err
			}
		}
	}
	if err := fetch(url, info); err != nil {
		return "", err
	}
	return copyOf(url)
}

// copyOf is where the copy of what is at a URL lies.
func copyOf(url string) (string, error) {
	bucket, key := cut(url)
	if !filepath.IsLocal(filepath.FromSlash(path.Join(".", key))) || path.Clean(key) != key && key != "" {
		return "", fault.Data.Errorf("%s is no path that a file here can have", url)
	}
	return filepath.Join(hashed("files", WithParameters(bucket)), filepath.FromSlash(key)), nil
}

// hashed is a folder of the cache for what is at a URL.
func hashed(kind, url string) string {
	sum := sha256.Sum256([]byte(url))
	return filepath.Join(Here(), "objects", kind, hex.EncodeToString(sum[:8]))
}

// fetch makes the copy of a file, unless it is what it was when it was made and the store has the same.
func fetch(url string, info fs.FileInfo) error {
	to, err := copyOf(url)
	if err != nil {
		return err
	}
	seen := filepath.Join(filepath.Dir(to), "."+filepath.Base(to)+".seen")
	state := func(sum []byte) string {
		return fmt.Sprintf("%d %d %s %x\n", info.Size(), info.ModTime().UnixNano(), Tag(info), sum)
	}
	if known, err := userfile.Read(seen, userfile.Small); err == nil {
		if f, _, err := userfile.Open(to); err == nil {
			sum := sha256.New()
			_, err := io.Copy(sum, f)
			f.Close()
			if err == nil && string(known) == state(sum.Sum(nil)) {
				return nil
			}
		}
	}
	if err := disk.MakeAll(filepath.Dir(to)); err != nil {
		return err
	}
	sum := sha256.New()
	if err := atomicfile.Write(to, func(w io.Writer) error {
		from := io.NewSectionReader(At(url, info), 0, info.Size())
		_, err := io.CopyBuffer(io.MultiWriter(w, sum), from, make([]byte, 8<<20)) // which is what a request asks for
		return err
	}); err != nil {
		return err
	}
	return atomicfile.WriteBytes(seen, []byte(state(sum.Sum(nil))))
}

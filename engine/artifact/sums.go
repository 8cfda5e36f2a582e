package artifact

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/userfile"
)

// SumsFile has the SHA-256 of the other files of a finished folder in the form of sha256sum, which checks them too. Its
// first line, a comment, is the sum of the lines after.
const SumsFile = "SHA256SUMS"

// Sums are the SHA-256 of a folder's files by name, in hexadecimal.
type Sums map[string]string

// SumOf is what Sums has for a content.
func SumOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// SumOfReader is what Sums has for a content that is read.
func SumOfReader(content io.Reader) (string, error) {
	sum := sha256.New()
	_, err := io.Copy(sum, content)
	return hex.EncodeToString(sum.Sum(nil)), err
}

// SumOfFile is what Sums has for the content of a file.
func SumOfFile(path string) (string, error) {
	f, _, err := userfile.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return SumOfReader(f)
}

// ReadSums reads those of a folder; nil for one that has none of ours, since it is not finished or older than sums.
func ReadSums(dir string) (Sums, error) {
	path := place.Join(dir, SumsFile)
	text, err := place.Read(path, userfile.Text)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	} else if len(text) > 0 && text[0] != '#' {
		return nil, nil // of others: a model file may lie among downloads
	}
	sums := Sums{}
	for line := range strings.Lines(string(text)) {
		if sum, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  "); ok {
			sums[name] = sum
		}
	}
	if !slices.Equal(sums.Bytes(), text) {
		return nil, fault.Data.Errorf("%s is damaged; without it the other files cannot be checked", path)
	}
	return sums, nil
}

// CheckFile refuses the content of a file if its folder has sums that know another.
func CheckFile(path string, content []byte) error {
	dir := place.Dir(path)
	sums, err := ReadSums(dir)
	return errors.Join(err, sums.Check(dir, filepath.Base(path), content))
}

// Free refuses to write where a file is that a finished folder knows by its sum.
func Free(path string) error {
	path, err := place.Named(path)
	if err != nil {
		return err
	}
	if sums, _ := ReadSums(place.Dir(path)); sums[filepath.Base(path)] != "" {
		return fault.Config.Errorf("out: %s belongs to a finished run; choose another file", path)
	}
	return nil
}

// Bytes is the content of SumsFile.
func (s Sums) Bytes() []byte {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(&b, "%s  %s\n", s[name], name)
	}
	return []byte("# " + SumOf([]byte(b.String())) + "\n" + b.String())
}

// Check refuses the content of the file with a name in a folder if it is not what s has for it. A file that s does not
// know is accepted.
func (s Sums) Check(dir, name string, content []byte) error {
	return s.CheckReader(dir, name, bytes.NewReader(content))
}

// CheckReader is Check of a content that is read.
func (s Sums) CheckReader(dir, name string, content io.Reader) error {
	want, known := s[name]
	if !known {
		return nil
	}
	if sum, err := SumOfReader(content); err != nil {
		return err
	} else if sum != want {
		return fault.Data.Errorf("%s is damaged or changed: its SHA-256 is not that in %s; take the folder from a "+
			"copy, or run again (what is to be changed belongs in a copy outside of it)", place.Join(dir, name),
			SumsFile)
	}
	return nil
}

package artifact

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"path/filepath"
	"strings"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/onnx/graph"
)

// SumKey is the metadata key of a model's own sum: the SHA-256, in hexadecimal, of the file in which that sum is 64
// zeros. So a model that has left its folder can still be checked.
const SumKey = "vitft.sha256"

const sumDigits = 2 * sha256.Size

// sumBegin is what comes before a model's own sum in the file: the tags and lengths of the metadata entry.
var sumBegin = []byte("\x0a" + string(rune(len(SumKey))) + SumKey + "\x12" + string(rune(sumDigits)))

// seal is the content of a model file with its own sum.
func seal(m *graph.Model) ([]byte, error) {
	m.SetMetadata(SumKey, strings.Repeat("0", sumDigits))
	content, err := m.Bytes()
	if err != nil {
		return nil, err
	}
	sum, said, err := ownSum(content)
	copy(said, sum)
	return content, err
}

// ownSum is the sum that a model should have, and the place in its content where it has one; nothing if it has none.
func ownSum(content []byte) (sum string, said []byte, err error) {
	at := bytes.LastIndex(content, sumBegin) + len(sumBegin)
	if at < len(sumBegin) {
		return "", nil, nil
	}
	if len(content) < at+sumDigits {
		return "", nil, errors.New("it is cut short")
	}
	h := sha256.New()
	h.Write(content[:at])
	h.Write(bytes.Repeat([]byte("0"), sumDigits))
	h.Write(content[at+sumDigits:])
	return hex.EncodeToString(h.Sum(nil)), content[at : at+sumDigits], nil
}

// Sealed says whether a model carries its own sum, and refuses one whose content is not what that says.
func Sealed(content []byte) (bool, error) {
	sum, said, err := ownSum(content)
	if err == nil && sum != string(said) {
		err = errors.New("its SHA-256 is not that in its metadata " + SumKey)
	}
	if err != nil {
		return true, fault.Data.Errorf("it is damaged, or changed since vitft wrote it: %w; take it from a copy, or "+
			"export it again", err)
	}
	return said != nil, nil
}

// CheckModel refuses the content of a model file that is not what vitft has written, by the sums of its folder, else by
// its own. Of others' models nothing is known.
func CheckModel(path string, content []byte) error {
	dir, name := filepath.Split(path)
	sums, err := ReadSums(dir)
	if err != nil {
		return err
	}
	if sums[name] != "" {
		return sums.Check(dir, name, content)
	}
	if _, err := Sealed(content); err != nil {
		return fault.Data.Errorf("%s: %w", path, err)
	}
	return nil
}

package models

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// ErrUnknown is wrapped by the error of Lookup for a name that no backbone has. Its kind is "config".
var ErrUnknown error = &sentinel{"no such backbone", "config"}

// ErrNotEmbedded is wrapped by the error of Bytes for a backbone that must be fetched first.
var ErrNotEmbedded = errors.New("the backbone is not embedded in this program")

// Backbone is what is known about one frozen image encoder in ONNX form.
type Backbone struct {
	Name        string `json:"name"`        // unique; what --backbone takes
	Description string `json:"description"` // one line: architecture and pretraining
	Licence     string `json:"licence"`     // SPDX identifier; empty if the source names none

	Embedded   bool   `json:"embedded"`   // the file is part of this program; Repository and File are empty
	Repository string `json:"repository"` // OWNER/NAME on the Hugging Face hub; empty if unknown
	File       string `json:"file"`       // path of the ONNX file in Repository
	Revision   string `json:"revision"`   // branch, tag or commit that File is taken from; "main", as the first pull pins it
	SHA256     string `json:"sha256"`     // of that file, lower-case hex; empty if never computed here
	Verified   bool   `json:"verified"`   // a file with that SHA256 was at hand and ran with this preprocessing

	Width      int             `json:"width"`      // input, pixels
	Height     int             `json:"height"`     // input, pixels
	Preprocess json.RawMessage `json:"preprocess"` // as in the metadata "vitft.preprocess"
	Output     string          `json:"output"`     // the tensor that features are read from
	Pooling    string          `json:"pooling"`    // of Output: "pooled" ([batch, Dim] as it is), "cls", "mean" or "cls+mean"
	Dim        int             `json:"dim"`        // length of a feature
}

// List returns all backbones: the default, then the others from small to large.
func List() []Backbone {
	list := slices.Clone(registry)
	for i := range list {
		list[i].Preprocess = slices.Clone(list[i].Preprocess)
	}
	return list
}

// Default is the embedded backbone that is used when none is named.
func Default() Backbone { return List()[0] }

// Lookup returns the backbone with this name. The error for any other wraps ErrUnknown and lists the names nearest to
// it.
func Lookup(name string) (Backbone, error) {
	list := List()
	if i := slices.IndexFunc(list, func(b Backbone) bool { return b.Name == name }); i >= 0 {
		return list[i], nil
	}
	slices.SortStableFunc(list, func(a, b Backbone) int { return distance(name, a.Name) - distance(name, b.Name) })
	return Backbone{}, fmt.Errorf("%w: %q; the nearest names are %s, %s, %s (vitft models list shows all)", ErrUnknown,
		name, list[0].Name, list[1].Name, list[2].Name)
}

// Recognize finds the backbone that a model file is: by its SHA-256 (hex), else by its path, if that ends in a
// registered name or in a registered Repository and File, as they are or in the hub's cache. How says which, for the
// log.
func Recognize(path, sha256 string) (b Backbone, how string, ok bool) {
	list := List()
	for _, b := range list {
		if b.SHA256 != "" && strings.EqualFold(b.SHA256, sha256) {
			return b, "same SHA-256", true
		}
	}
	path = filepath.ToSlash(path)
	stem := canonical(strings.TrimSuffix(path[strings.LastIndexByte(path, '/')+1:], ".onnx"))
	for _, b := range list {
		published := b.Repository + "/" + b.File
		cached := strings.Contains(path, "/"+folderName(b.Repository)+"/snapshots/") &&
			strings.HasSuffix(path, "/"+b.File)
		if stem == canonical(b.Name) || b.File != "" &&
			(cached || path == published || strings.HasSuffix(path, "/"+published)) {
			return b, "by its path", true
		}
	}
	return Backbone{}, "", false
}

// Bytes is the ONNX file of an embedded backbone; the caller must not change it. The error for any other wraps
// ErrNotEmbedded and says where the file is.
func (b Backbone) Bytes() ([]byte, error) {
	if b.Embedded && b.Name == registry[0].Name {
		return microViT, nil
	}
	if b.Repository == "" {
		return nil, fmt.Errorf("%s: %w; give the path of its file instead", b.Name, ErrNotEmbedded)
	}
	return nil, fmt.Errorf("%s: %w; `vitft models pull %s` fetches it from the repository %s", b.Name,
		ErrNotEmbedded, b.Name, b.Repository)
}

// canonical makes names comparable that differ in case and in the separator between words.
func canonical(name string) string {
	return strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(name))
}

// distance is the Levenshtein distance of the canonical names, with a name that holds the other counting as near.
func distance(a, b string) int {
	a, b = canonical(a), canonical(b)
	if a != "" && strings.Contains(b, a) {
		return 0
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

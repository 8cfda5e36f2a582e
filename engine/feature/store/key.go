package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"reflect"
	"strings"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature/bucket"
)

// format names the layout of blocks and keys; it is part of every key's hash, so that another layout is another folder.
const format = "vitft-features-1"

const keyFile = "key.json" // holds the key in a store's folder

var errKeyFile = errors.New("not a feature-store key")

// Key is everything that features depend on. Stores with different keys share nothing.
type Key struct {
	Backbone   string `json:"backbone"`       // SHA-256 of the backbone, in hex
	Preprocess string `json:"preprocess"`     // canonical text of the preprocessing, with the decoder's version
	Feature    string `json:"feature"`        // tensor and pooling
	Precision  string `json:"precision"`      // what the backbone computes in, e.g. float32
	Provider   string `json:"provider"`       // execution provider: their results differ in the last bits
	Dim        int    `json:"dim"`            // D, values of a feature
	View       string `json:"view,omitempty"` // how the prepared image is looked at; empty for as it is
	// Stored is what features are kept in where that is not float32: [Half] is half as large, to 3 digits.
	Stored string `json:"stored,omitempty"`
	// Graph is the SHA-256 of the graph that makes them, of tokens; empty for features of the whole backbone.
	Graph string `json:"graph,omitempty"`
}

// Half is the Key.Stored of features that are kept as float16.
const Half = "float16"

// Validate reports every field that is not filled in.
func (k Key) Validate() error {
	var faults []string
	for _, f := range k.fields() {
		if f.value == "" && !f.optional {
			faults = append(faults, f.name+" is empty")
		}
	}
	if k.Stored != "" && k.Stored != Half {
		faults = append(faults, fmt.Sprintf("stored is %q", k.Stored))
	}
	if k.Dim <= 0 {
		faults = append(faults, fmt.Sprintf("dim is %d", k.Dim))
	}
	if faults != nil {
		return fmt.Errorf("%w: %s", ErrKey, strings.Join(faults, ", "))
	}
	return nil
}

// Bytes is what a feature takes as it is kept, without its id.
func (k Key) Bytes() int64 {
	if k.Stored == Half {
		return 2 * int64(k.Dim)
	}
	return 4 * int64(k.Dim)
}

// Hash is the name of the key's folder: the first 16 hexadecimal digits of its SHA-256.
func (k Key) Hash() string { return k.Full()[:16] }

// CheckCompatibility returns an error that wraps ErrIncompatible and names every field in which k, found on disk,
// differs from what is wanted.
func (k Key) CheckCompatibility(want Key) error {
	var faults []string
	wanted := want.fields()
	for i, f := range k.fields() {
		if f.value != wanted[i].value {
			faults = append(faults, fmt.Sprintf("%s is %q, not %q", f.name, f.value, wanted[i].value))
		}
	}
	if faults != nil {
		return fmt.Errorf("%w: %s", ErrIncompatible, strings.Join(faults, ", "))
	}
	return nil
}

// field is one of a key, by its name in key.json.
type field struct {
	name, value string
	optional    bool
}

func (k Key) fields() (all []field) {
	for f, v := range reflect.ValueOf(k).Fields() {
		name, option, _ := strings.Cut(f.Tag.Get("json"), ",")
		all = append(all, field{name, fmt.Sprint(v), option == "omitempty"})
	}
	return all
}

// Full is the SHA-256 of the format's name and the fields, a line each, with the length in bytes before each value
// so that no two keys give the same text. The plain view and float32 are left out: stores are older than others.
func (k Key) Full() string {
	h := sha256.New()
	fmt.Fprintln(h, format)
	for _, f := range k.fields() {
		if f.value != "" || !f.optional {
			fmt.Fprintf(h, "%s %d:%s\n", f.name, len(f.value), f.value)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// checkKey compares the key.json that is there with the key, or writes it.
func (s *Store) checkKey(ctx context.Context) error {
	found, err := readKey(ctx, s.bucket, s.name(keyFile))
	if err == nil {
		if err := found.CheckCompatibility(s.key); err != nil {
			return fault.Data.Errorf("%s: %w (was the folder renamed? remove it to start anew; "+
				"if only that file is of another, vitft verify --repair sets it aside)",
				s.bucket.Where(s.name(keyFile)), err)
		}
		return nil
	}
	if errors.Is(err, errKeyFile) { // every block carries the key's hash, so a lost file loses nothing
		err = s.explain(s.bucket.SetAside(ctx, s.name(keyFile)))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.publishKey(ctx)
}

// keyJSON is the content of key.json.
type keyJSON struct {
	Format string `json:"format"`
	Key
}

func readKey(ctx context.Context, in bucket.Bucket, name string) (Key, error) {
	o, err := in.Open(ctx, name)
	if err != nil {
		return Key{}, err
	}
	defer o.Close()
	text, err := bucket.Content(o)
	if err != nil {
		return Key{}, err
	}
	var k keyJSON
	if err := json.Unmarshal(text, &k); err != nil {
		return Key{}, fmt.Errorf("%w: %s: %w", errKeyFile, in.Where(name), err)
	}
	return k.Key, nil
}

// publishKey writes key.json. That it is there already is no error; that nothing can be written is found out all the
// same.
func (s *Store) publishKey(ctx context.Context) error {
	err := s.bucket.Publish(ctx, s.name(keyFile), func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(keyJSON{format, s.key})
	})
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return s.explain(err)
}

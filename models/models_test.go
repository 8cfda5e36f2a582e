package models

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestRegistry(t *testing.T) {
	var names []string
	hexSum := regexp.MustCompile(`^[0-9a-f]{64}$`)
	for _, b := range List() {
		t.Run(b.Name, func(t *testing.T) {
			if b.Name == "" || b.Name != canonical(b.Name) || slices.Contains(names, b.Name) {
				t.Errorf("the name %q is empty, not canonical or not unique", b.Name)
			}
			names = append(names, b.Name)
			if b.Description == "" || strings.Contains(b.Description, "\n") {
				t.Errorf("description %q is not one line", b.Description)
			}
			if !b.Embedded && b.Repository == "" && b.SHA256 == "" {
				t.Error("neither embedded, nor in a repository, nor known by its SHA-256")
			}
			if b.Embedded && b.Repository != "" {
				t.Error("embedded and in a repository")
			}
			if (b.Repository == "") != (b.File == "") {
				t.Errorf("repository %q and file %q belong together", b.Repository, b.File)
			}
			if (b.Repository == "") != (b.Revision == "") {
				t.Errorf("repository %q and revision %q belong together", b.Repository, b.Revision)
			}
			if b.Repository != "" && !IsName(b.Repository+":"+b.File+"@"+b.Revision) {
				t.Errorf("%s:%s@%s is no file on the hub", b.Repository, b.File, b.Revision)
			}
			if b.Repository != "" && b.Licence == "" {
				t.Error("a published model without a licence")
			}
			if b.SHA256 != "" && !hexSum.MatchString(b.SHA256) {
				t.Errorf("SHA256 %q is not lower-case hex", b.SHA256)
			}
			if b.Verified && b.SHA256 == "" {
				t.Error("verified without a SHA-256")
			}
			if !slices.Contains([]string{"pooled", "cls", "mean", "cls+mean", "logits-input"}, b.Pooling) ||
				b.Output == "" || b.Dim <= 0 {
				t.Errorf("output %q, pooling %q, dim %d", b.Output, b.Pooling, b.Dim)
			}
			testPreprocess(t, b)
		})
	}
}

// testPreprocess checks what can be checked without package vit, which this package must not import.
func testPreprocess(t *testing.T, b Backbone) {
	t.Helper()
	var p struct {
		Width, Height int
		Resize        string
		ResizeTo      *int `json:"resize_to"`
		Interpolation string
		Mean, Std     [3]float64
		Orientation   *bool
	}
	d := json.NewDecoder(bytes.NewReader(b.Preprocess))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		t.Fatalf("preprocess %s: %v", b.Preprocess, err)
	}
	if p.Width != b.Width || p.Height != b.Height || b.Width <= 0 || b.Height <= 0 {
		t.Errorf("preprocess makes %d×%d, the model takes %d×%d", p.Width, p.Height, b.Width, b.Height)
	}
	if p.Resize != "shortest" && p.Resize != "exact" || p.ResizeTo == nil || p.Orientation == nil {
		t.Errorf("preprocess %s lacks a key or has an unknown resize", b.Preprocess)
	}
	if p.Interpolation != "bicubic" && p.Interpolation != "bilinear" {
		t.Errorf("interpolation %q", p.Interpolation)
	}
	for c := range 3 {
		if p.Mean[c] <= 0 || p.Mean[c] >= 1 || p.Std[c] <= 0 || p.Std[c] >= 1 {
			t.Errorf("mean %v, std %v", p.Mean, p.Std)
		}
	}
}

func TestEmbedded(t *testing.T) {
	b := Default()
	data, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	if got := hex.EncodeToString(sum[:]); got != b.SHA256 {
		t.Errorf("the embedded file has SHA-256 %s, the registry says %s", got, b.SHA256)
	}
	if limit := 12 << 20; len(data) > limit {
		t.Errorf("the embedded file has %d bytes, more than %d", len(data), limit)
	}
	if !bytes.Contains(data, b.Preprocess) {
		t.Errorf("the file's metadata do not hold the registry's preprocessing %s", b.Preprocess)
	}
	card, err := os.ReadFile("MODEL_CARD.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(card, []byte(b.SHA256)) || !bytes.Contains(card, []byte(b.Name)) {
		t.Errorf("MODEL_CARD.md is about another file than %s, SHA-256 %s", b.Name, b.SHA256)
	}
}

func TestLookup(t *testing.T) {
	for _, b := range List() {
		if got, err := Lookup(b.Name); err != nil || got.Name != b.Name {
			t.Errorf("Lookup(%q) = %q, %v", b.Name, got.Name, err)
		}
	}
	for name, near := range map[string]string{
		"dinov2":                     "dinov2-small",
		"dinov2-smal":                "dinov2-small",
		"vit_base_patch16_224_in21k": "vit-base-patch16-224-in21k",
		"SigLIP-base":                "siglip-base-patch16-224",
	} {
		_, err := Lookup(name)
		if !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), near) {
			t.Errorf("Lookup(%q): error %v does not offer %s", name, err, near)
		}
	}
	if _, err := Lookup(""); !errors.Is(err, ErrUnknown) {
		t.Errorf("Lookup of the empty name: %v", err)
	}
}

func TestRecognize(t *testing.T) {
	sum := Default().SHA256
	for _, c := range []struct{ path, sum, name, how string }{
		{"/anywhere/renamed.bin", sum, Default().Name, "SHA-256"},
		{"/anywhere/renamed.bin", strings.ToUpper(sum), Default().Name, "SHA-256"},
		{"dinov2-small.onnx", sum, Default().Name, "SHA-256"}, // content before name
		{"/m/vit_tiny_patch16_224.onnx", "", "vit-tiny-patch16-224", "path"},
		{"/hub/onnx-community/dinov2-base/onnx/model.onnx", "", "dinov2-base", "path"},
		{"Xenova/clip-vit-base-patch16/onnx/vision_model.onnx", "", "clip-vit-base-patch16", "path"},
		{"/c/models--onnx-community--dinov2-base/snapshots/0123/onnx/model.onnx", "", "dinov2-base", "path"},
		{"/c/models--onnx-community--dinov2-base/snapshots/0123/onnx/model_q4.onnx", "", "", ""},
		{"model.onnx", "", "", ""},
		{"onnx/model.onnx", "", "", ""},
		{"", "", "", ""},
		{".onnx", strings.Repeat("0", 64), "", ""},
	} {
		b, how, ok := Recognize(c.path, c.sum)
		if b.Name != c.name || ok != (c.name != "") || !strings.Contains(how, c.how) {
			t.Errorf("Recognize(%q, %q) = %q, %q, %v; want %q by %q", c.path, c.sum, b.Name, how, ok, c.name, c.how)
		}
	}
}

func TestBytesNotEmbedded(t *testing.T) {
	for _, b := range List()[1:] {
		if data, err := b.Bytes(); data != nil || !errors.Is(err, ErrNotEmbedded) ||
			!strings.Contains(err.Error(), b.Repository) {
			t.Errorf("%s: Bytes returned %d bytes and %v", b.Name, len(data), err)
		}
	}
}

func TestListIsACopy(t *testing.T) {
	list := List()
	list[0].Name, list[0].Preprocess[0] = "changed", 'x'
	if Default().Name == "changed" || !json.Valid(Default().Preprocess) {
		t.Error("a change to List's result reached the registry")
	}
}

func TestKinds(t *testing.T) {
	for err, want := range map[error]string{
		ErrUnknown: "config", ErrAccess: "config", ErrSetting: "config",
		ErrNotPulled: "data", ErrCorrupt: "data", ErrChanged: "data", ErrNetwork: "",
	} {
		got := ""
		if kind, ok := errors.AsType[interface {
			error
			Kind() string
		}](fmt.Errorf("wrapped: %w", err)); ok {
			got = kind.Kind()
		}
		if got != want {
			t.Errorf("%v is of kind %q, want %q", err, got, want)
		}
	}
}

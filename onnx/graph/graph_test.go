package graph

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/onnx/graph/onnxpb"
)

// fixtures is the folder of small image encoders that package vision is tested with.
const fixtures = "../vision/testdata"

func read(t testing.TB, name string) *Model {
	t.Helper()
	m, err := Read(filepath.Join(fixtures, name))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMetadata(t *testing.T) {
	m := read(t, "pooled.onnx")
	cut := m.Copy()
	if v, ok := cut.Metadata("note"); !ok || v != "kept" {
		t.Errorf("note = %q, %v", v, ok)
	}
	cut.SetMetadata("note", "changed")
	cut.SetMetadata("new", "é")
	data, err := cut.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	back, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"note": "changed", "new": "é"} {
		if v, _ := back.Metadata(key); v != want {
			t.Errorf("%s = %q, want %q", key, v, want)
		}
	}
	if _, ok := back.Metadata("absent"); ok {
		t.Error("absent key is present")
	}
	if v, _ := m.Metadata("note"); v != "kept" {
		t.Error("original changed")
	}
}

func TestParseRefuses(t *testing.T) {
	whole, err := os.ReadFile(fixtures + "/pooled.onnx")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ data, says string }{
		"empty":       {"", "empty"},
		"cut short":   {string(whole[:len(whole)/2]), "cut short"},
		"text":        {"hello, this is not a model", "not an ONNX file"},
		"zip":         {"PK\x03\x04abcdefgh", "PyTorch"},
		"lfs":         {"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"},
		"html":        {"<!DOCTYPE html><html>", "web page"},
		"doctype":     {"\ufeff\n<!doctype HTML>", "web page"},
		"OpenVINO":    {"<?xml version=\"1.0\"?>\n<net name=\"vit\" version=\"11\">", "OpenVINO"},
		"S3":          {"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "error message of a server"},
		"XML":         {"<?xml version=\"1.0\"?><a/>", "XML"},
		"JSON":        {`{"error":"Invalid credentials"}`, "Invalid credentials"},
		"not found":   {"Entry not found", `begins "Entry not found"`},
		"long text":   {strings.Repeat("naïve text. ", 9000), "begins"},
		"torch":       {"PK\x03\x04\x00\x00vit/data.pkl", "PyTorch checkpoint"},
		"old torch":   {"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", "old PyTorch"},
		"pickle":      {"\x80\x04\x95", "pickle"},
		"keras":       {"PK\x03\x04 metadata.json model.weights.h5", "Keras"},
		"HDF5":        {"\x89HDF\r\n\x1a\n", "HDF5"},
		"npz":         {"PK\x03\x04 a.npy", "NumPy"},
		"TFLite":      {"\x1c\x00\x00\x00TFL3", "TensorFlow Lite"},
		"ORT":         {"\x1c\x00\x00\x00ORTM", ".ort"},
		"SavedModel":  {"\x08\x01\x12\x80\x01 saved_model_main_op", "tf2onnx"},
		"frozen":      {"\x0a\x20\x0a\x05input\x12\x0bPlaceholder", "tf2onnx"},
		"Core ML":     {"\x08\x05\x12\x10 com.github.apple.coremltools.version", "Core ML"},
		"TensorRT":    {"ftrt\x00\x00", "TensorRT"},
		"gzip":        {"\x1f\x8b\x08", "gunzip"},
		"tar":         {strings.Repeat("a", 257) + "ustar", "tar"},
		"zeros":       {strings.Repeat("\x00", 100), "zeros"},
		"safetensors": {"\x10\x00\x00\x00\x00\x00\x00\x00{\"a\":{}}", "safetensors"},
	} {
		_, err := Parse([]byte(tt.data))
		if !errors.Is(err, ErrModel) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, should say %q", name, err, tt.says)
		}
	}
	if _, err := Read(fixtures); !errors.Is(err, ErrModel) {
		t.Errorf("folder: %v", err)
	}
	for _, name := range []string{"m.onnx.data", "m.onnx_data_1"} {
		path := testkit.WriteFile(t, filepath.Join(t.TempDir(), name), []byte("\x01\x02\x03"))
		if _, err := Read(path); !errors.Is(err, ErrModel) || !strings.Contains(err.Error(), "weights of m.onnx:") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Read(fixtures + "/absent.onnx"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
}

func TestHash(t *testing.T) {
	m := read(t, "pooled.onnx")
	data, _ := os.ReadFile(fixtures + "/pooled.onnx")
	sum := sha256.Sum256(data)
	if got, err := m.Hash(); err != nil || got != hex.EncodeToString(sum[:]) {
		t.Errorf("%s, %v; want the file's SHA-256", got, err)
	}

	dir := t.TempDir()
	copyFile(t, dir, "external.onnx")
	copyFile(t, dir, "external.onnx.data")
	hash := func() string {
		m, err := Read(filepath.Join(dir, "external.onnx"))
		if err != nil {
			t.Fatal(err)
		}
		h, err := m.Hash()
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	before := hash()
	if before != hash() {
		t.Error("not stable")
	}
	path := filepath.Join(dir, "external.onnx.data")
	weights, _ := os.ReadFile(path)
	weights[5] ^= 1
	if err := os.WriteFile(path, weights, 0o600); err != nil {
		t.Fatal(err)
	}
	if before == hash() {
		t.Error("the same after a change of the external data")
	}
}

// The sum is of what a model computes by, of whichever bytes it was read: any other weight, node or name is another.
func TestSum(t *testing.T) {
	m := read(t, "pooled.onnx")
	sum := func() string {
		s, err := m.Sum()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	was := sum()
	m.SetMetadata("of", "no matter")
	data, err := m.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if m, err = Parse(data); err != nil || sum() != was {
		t.Errorf("read again: %v", err)
	}
	g := m.Graph()
	for what, change := range map[string]func(){
		"weight":    func() { g.Initializer[0].RawData[0]++ },
		"name":      func() { m.Rename(map[string]string{g.Initializer[0].GetName(): "other"}) },
		"operator":  func() { op := "Neg"; g.Node[0].OpType = &op },
		"attribute": func() { g.Node[0].Attribute = append(g.Node[0].Attribute, IntAttr("group", 3)) },
		"output":    func() { g.Output = nil },
	} {
		before := sum()
		if change(); sum() == before {
			t.Errorf("another %s, and the same sum", what)
		}
	}
	if _, err := read(t, "external.onnx").Sum(); err == nil {
		t.Error("of a model whose weights lie elsewhere")
	}
}

// The hash is of what was read, whatever the file is by now; that external data have changed is noticed.
func TestFilesChangeMeanwhile(t *testing.T) {
	dir := t.TempDir()
	copyFile(t, dir, "external.onnx")
	copyFile(t, dir, "external.onnx.data")
	m, err := Read(filepath.Join(dir, "external.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := m.Hash()
	if err != nil || m.Unchanged() != nil {
		t.Fatal(err, m.Unchanged())
	}
	if err := os.WriteFile(filepath.Join(dir, "external.onnx"), []byte("another"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := m.Hash(); err != nil || got != want || m.Unchanged() != nil {
		t.Errorf("%s, %v, %v; want %s", got, err, m.Unchanged(), want)
	}
	copyFile(t, dir, "external.onnx.data")
	if err := m.Unchanged(); !errors.Is(err, ErrModel) || !strings.Contains(err.Error(), "external.onnx.data") {
		t.Errorf("external data written anew: %v", err)
	}
}

func copyFile(t *testing.T, dir, name string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(fixtures, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestExternalData(t *testing.T) {
	m := read(t, "external.onnx")
	if m.Dir() != filepath.Clean(fixtures) {
		t.Errorf("Dir = %q", m.Dir())
	}
	cut := m.Copy()
	if cut.Dir() != filepath.Clean(fixtures) {
		t.Errorf("Dir of the backbone = %q", cut.Dir())
	}
	if err := cut.Inline(); err != nil {
		t.Fatal(err)
	}
	if cut.Dir() != "" || len(cut.external()) != 0 {
		t.Error("still external after Inline")
	}
	if m.Dir() == "" {
		t.Error("Inline changed the model the backbone was cut from")
	}

	dir := t.TempDir()
	copyFile(t, dir, "external.onnx")
	path := filepath.Join(dir, "external.onnx")
	if _, err := Read(path); !errors.Is(err, ErrModel) ||
		!strings.Contains(err.Error(), "external.onnx.data is missing") {
		t.Errorf("missing data: %v", err)
	}
	if err := os.WriteFile(path+".data", make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); !errors.Is(err, ErrModel) || !strings.Contains(err.Error(), "100 bytes") {
		t.Errorf("short data: %v", err)
	}
}

// What is no file is refused by name before anything is read of it: a pipe would block, a device never end.
func TestOnlyFilesAreRead(t *testing.T) {
	dir := t.TempDir()
	m := New("external", 17)
	b := NewBuilder(m, "")
	b.Weight("w", externalTensor("weights", "", ""))
	b.Node("Add", []string{"x", "w"}, "y")
	m.SetInputs(Value{Name: "x", Type: "float32", Shape: []int64{1}})
	m.SetOutputs(Value{Name: "y", Type: "float32", Shape: []int64{1}})
	text, err := m.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	model, weights := filepath.Join(dir, "m.onnx"), filepath.Join(dir, "weights")
	put := func(content []byte) func(path string) error {
		return func(path string) error { return os.WriteFile(path, content, 0o600) }
	}
	link := func(target string) func(path string) error {
		return func(path string) error { return os.Symlink(target, path) }
	}
	pipe := func(path string) error { return syscall.Mkfifo(path, 0o600) }
	folder := func(path string) error { return os.Mkdir(path, 0o700) }
	elsewhere := filepath.Join(t.TempDir(), "file")
	err = errors.Join(put(text)(elsewhere+".onnx"), put(make([]byte, 4))(elsewhere), pipe(elsewhere+".pipe"))
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		model, weights func(path string) error
		says           string // "" if it can be read
	}{
		"files":            {put(text), put(make([]byte, 4)), ""},
		"links to files":   {link(elsewhere + ".onnx"), link(elsewhere), ""},
		"weights folder":   {put(text), folder, weights + " is a folder"},
		"weights pipe":     {put(text), pipe, weights + " is a pipe"},
		"weights link":     {put(text), link(elsewhere + ".pipe"), weights + " is a pipe"},
		"weights device":   {put(text), link("/dev/zero"), weights + " is a pipe, socket or device"},
		"model folder":     {folder, pipe, model + " is a folder"},
		"model pipe":       {pipe, pipe, model + " is a pipe"},
		"model device":     {link("/dev/zero"), pipe, model + " is a pipe, socket or device"},
		"model link, pipe": {link(elsewhere + ".pipe"), pipe, model + " is a pipe"},
	} {
		err := errors.Join(os.RemoveAll(model), os.RemoveAll(weights), x.model(model), x.weights(weights))
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() {
			_, err := Read(model)
			ended <- err
		}()
		select {
		case err := <-ended:
			if (err != nil) != (x.says != "") ||
				err != nil && (!errors.Is(err, ErrModel) || !strings.Contains(err.Error(), x.says)) {
				t.Errorf("%s: %v, want %q", name, err, x.says)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: still reading", name)
		}
	}
}

func TestLocation(t *testing.T) {
	for _, tt := range []struct {
		location, offset, length string
		ok                       bool
	}{
		{"w.bin", "", "", true},
		{"sub/w.bin", "16", "8", true},
		{"./a/../w.bin", "0", "0", true},
		{"", "", "", false},
		{".", "", "", false},
		{"../w.bin", "", "", false},
		{"a/../../w.bin", "", "", false},
		{`..\w.bin`, "", "", false},
		{"/etc/passwd", "", "", false},
		{"w.bin", "-1", "", false},
		{"w.bin", "", "-1", false},
		{"w.bin", "x", "", false},
		{"w.bin", "99999999999999999999", "", false},
	} {
		_, err := location(externalTensor(tt.location, tt.offset, tt.length))
		if (err == nil) != tt.ok || (err != nil && !errors.Is(err, ErrModel)) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

func externalTensor(location, offset, length string) *onnxpb.TensorProto {
	t := &onnxpb.TensorProto{Name: proto.String("w"), DataLocation: onnxpb.TensorProto_EXTERNAL.Enum()}
	for _, kv := range [][2]string{{"location", location}, {"offset", offset}, {"length", length}} {
		if kv[1] != "" {
			t.ExternalData = append(t.ExternalData, &onnxpb.StringStringEntryProto{Key: &kv[0], Value: &kv[1]})
		}
	}
	return t
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob(fixtures + "/*.onnx")
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Parse(data)
		if err != nil {
			if !errors.Is(err, ErrModel) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		c := m.Copy()
		c.Prune()
		if err := c.Sort(); err != nil && !errors.Is(err, ErrModel) {
			t.Fatalf("untyped error %v", err)
		}
		if len(c.Graph().Node) > len(m.Graph().Node) {
			t.Fatal("sorting and pruning made nodes")
		}
		if data, err = c.Bytes(); err != nil {
			t.Fatal(err)
		}
		sig, err := ReadSignature(data)
		if err != nil {
			t.Fatal(err)
		}
		if len(sig.Outputs) != len(c.Outputs()) || len(sig.Inputs) != len(c.Inputs()) {
			t.Errorf("signature %v, %v; model %v, %v", sig.Inputs, sig.Outputs, c.Inputs(), c.Outputs())
		}
	})
}

func FuzzLocation(f *testing.F) {
	f.Add("w.bin", "0", "8")
	f.Add("../x", "", "")
	f.Add(`a\..\..\x`, "1", "")
	f.Fuzz(func(t *testing.T, where, offset, length string) {
		loc, err := location(externalTensor(where, offset, length))
		if err != nil {
			return
		}
		if rel, err := filepath.Rel("/m", filepath.Join("/m", loc.path)); err != nil || !filepath.IsLocal(rel) ||
			filepath.IsAbs(loc.path) {
			t.Errorf("%q leads to %q", where, loc.path)
		}
		if loc.offset < 0 || loc.length < -1 {
			t.Errorf("%+v", loc)
		}
	})
}

// Inputs that are left out at the end are not there, in subgraphs neither: at some ONNX Runtime crashes.
func TestInputsLeftOut(t *testing.T) {
	m := New("m", 17)
	b := NewBuilder(m, "")
	y := b.Node("LayerNormalization", []string{"x", b.Floats("w", []int64{2}, 1, 1), "", ""}, "")
	b.Node("Clip", []string{y, "", b.Floats("max", nil, 1)}, "y")
	m.SetInputs(Value{Name: "x", Type: "float32", Shape: []int64{1, 2}})
	m.SetOutputs(Value{Name: "y", Type: "float32", Shape: []int64{1, 2}})
	text, err := m.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if m, err = Parse(text); err != nil {
		t.Fatal(err)
	}
	if n := m.Graph().Node; len(n[0].Input) != 2 || len(n[1].Input) != 3 {
		t.Errorf("%q, %q", n[0].Input, n[1].Input)
	}
}

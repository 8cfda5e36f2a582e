package backbone

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/engine/safetensors"
	"github.com/vitft/vitft/internal/userfile"
	"github.com/vitft/vitft/onnx/adapt"
	"github.com/vitft/vitft/onnx/graph"
)

const adapterFormat = "vitft-adapter-1"

// Adapter is what was learnt inside a backbone. In a file it is safetensors: a tensor for each of the parameters, under
// the name that adapt.Param has for it, and the rest as metadata.
type Adapter struct {
	Backbone string // SHA-256 of the backbone that it belongs to
	adapt.Options
	Values map[string][]float32
}

// Bytes is the content of its file.
func (a Adapter) Bytes(params []adapt.Param) ([]byte, error) {
	f := safetensors.File{Metadata: map[string]string{"format": adapterFormat, "backbone": a.Backbone,
		"kind": string(a.Kind), "blocks": strconv.Itoa(a.Blocks), "rank": strconv.Itoa(a.Rank), "sha256": a.sum()}}
	size := 0
	for _, p := range params {
		var shape []int
		for _, d := range p.Shape {
			shape = append(shape, int(d))
		}
		f.Tensors = append(f.Tensors, safetensors.New(p.Name, shape, a.Values[p.Name]))
		size += 4*p.Size() + 256 // of the header
	}
	var b bytes.Buffer
	b.Grow(size)
	_, err := f.WriteTo(&b)
	return b.Bytes(), err
}

// sum is the SHA-256 of all that it says, by which a damaged file is noticed wherever it is.
func (a Adapter) sum() string {
	h := sha256.New()
	fmt.Fprintf(h, "%s %s %d %d\n", a.Backbone, a.Kind, a.Blocks, a.Rank)
	for _, name := range slices.Sorted(maps.Keys(a.Values)) {
		fmt.Fprintf(h, "%q %d\n", name, len(a.Values[name]))
		h.Write(safetensors.New(name, nil, a.Values[name]).Data)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// readAdapter reads the file of an adapter.
func readAdapter(path string) (a Adapter, err error) {
	content, err := place.Content(path, userfile.Large)
	if err != nil {
		return a, unread("adapter", err)
	}
	f, err := safetensors.Parse(content)
	if err == nil && f.Metadata["format"] != adapterFormat {
		err = fmt.Errorf("its format is %q, not %q", f.Metadata["format"], adapterFormat)
	}
	if err != nil {
		return a, fault.Data.Errorf("%s is no adapter that a run has written: %w", path, err)
	}
	a = Adapter{Backbone: f.Metadata["backbone"], Values: map[string][]float32{}}
	a.Kind = adapt.Kind(f.Metadata["kind"])
	var faults [2]error
	a.Blocks, faults[0] = strconv.Atoi(f.Metadata["blocks"])
	a.Rank, faults[1] = strconv.Atoi(f.Metadata["rank"])
	err = errors.Join(faults[:]...)
	for _, t := range f.Tensors {
		values, fault := safetensors.Values[float32](t)
		a.Values[t.Name], err = values, errors.Join(err, fault)
	}
	if err == nil && a.sum() != f.Metadata["sha256"] {
		err = errors.New("it is damaged or changed: its content has another SHA-256 than it says; take it from a " +
			"copy, or train anew")
	}
	if err != nil {
		return a, fault.Data.Errorf("%s: %w", path, err)
	}
	return a, nil
}

// apply puts what was learnt into the backbone that it belongs to, and returns what tells its features from others'.
func (a Adapter) apply(b *Backbone) (*graph.Model, string, error) {
	if a.Backbone != b.SHA256 {
		return nil, "", fault.Data.Errorf("the adapter was trained inside another backbone (SHA-256 %s) than %s (%s)",
			a.Backbone, b.Name, b.SHA256)
	}
	model, err := b.Whole()
	if err != nil {
		return nil, "", err
	}
	t, err := adapt.Find(model)
	if err != nil {
		return nil, "", err
	}
	in, err := t.Insert(a.Options)
	if err != nil {
		return nil, "", err
	}
	var values [][]float32
	for _, p := range in.Params() {
		v := a.Values[p.Name]
		if int64(len(v)) != graph.Elements(p.Shape) {
			return nil, "", fault.Data.Errorf("the adapter has %d values of %s, whose shape is %v", len(v), p.Name,
				p.Shape)
		}
		values = append(values, v)
	}
	model, err = in.Bake(values)
	return model, "with " + a.sum(), err
}

// put puts an adapter that is kept in a file into b.
func (b *Backbone) put(path string) error {
	a, err := readAdapter(path)
	if err != nil {
		return err
	}
	model, made, err := a.apply(b)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	b.Model, b.key.Feature = model, b.key.Feature+" "+made
	return nil
}

// Adapted is b with what was learnt inside it, ready to run. It is closed by the caller.
func (b *Backbone) Adapted(a Adapter, ev event.Events) (*Backbone, error) {
	model, made, err := a.apply(b)
	if err != nil {
		return nil, err
	}
	return b.With(model, made, ev)
}

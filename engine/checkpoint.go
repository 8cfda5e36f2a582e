package engine

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/internal/atomicfile"
	"github.com/vitft/vitft/engine/safetensors"
	"github.com/vitft/vitft/head"
)

// checkpoint is what an interrupted training continues from: gob keeps every
// float bit for bit, NaN included.
type checkpoint struct {
	Key     string // of the feature store: other features would not fit
	Samples int
	Seconds float64 // of training so far
	State   head.State
}

func (r runFolder) writeCheckpoint(c checkpoint) error {
	return atomicfile.Write(r.path(checkpointFile), func(w io.Writer) error { return gob.NewEncoder(w).Encode(c) })
}

// readCheckpoint returns nil where training had not come to a checkpoint.
func (r runFolder) readCheckpoint() (*checkpoint, error) {
	f, err := os.Open(r.path(checkpointFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	c := new(checkpoint)
	if err := gob.NewDecoder(f).Decode(c); err != nil {
		return nil, dataError("%s is damaged (%v); start the run anew without --resume", r.path(checkpointFile), err)
	}
	return c, nil
}

// headFormat is the "format" of head.safetensors.
const headFormat = "vitft-head-2"

// writeHead writes head.safetensors: weight [C,D], bias [C], mean [D],
// inv_std [D] and, where there is one, transform [D,D]; see head.Head for what
// they mean. Of a calibrated run also temperature, [1] or [C]; see calib.Scaling.
func (r runFolder) writeHead(h *head.Head, scaling calib.Scaling) error {
	f := safetensors.File{
		Metadata: map[string]string{"format": headFormat, "normalize": fmt.Sprint(h.Normalize)},
		Tensors: []safetensors.Tensor{
			safetensors.New("weight", []int{h.Classes, h.Dim}, h.W),
			safetensors.New("bias", []int{h.Classes}, h.B),
			safetensors.New("mean", []int{h.Dim}, h.Mean),
			safetensors.New("inv_std", []int{h.Dim}, h.InvStd),
		},
	}
	if h.Transform != nil {
		f.Tensors = append(f.Tensors, safetensors.New("transform", []int{h.Dim, h.Dim}, h.Transform))
	}
	if n := len(scaling.Temperature); n > 0 {
		f.Tensors = append(f.Tensors, safetensors.New("temperature", []int{n}, scaling.Temperature))
	}
	return f.Write(r.path(headFile))
}

// readHead reads head.safetensors back.
func (r runFolder) readHead() (*head.Head, calib.Scaling, error) {
	var scaling calib.Scaling
	path := r.path(headFile)
	f, err := safetensors.Read(path)
	if err != nil {
		return nil, scaling, dataError("%s: %v", path, err)
	}
	if f.Metadata["format"] != headFormat {
		return nil, scaling, dataError("%s is no head of ours (format %q, not %q)", path, f.Metadata["format"], headFormat)
	}
	h := &head.Head{Normalize: f.Metadata["normalize"] == "true"}
	into := map[string]*[]float32{"weight": &h.W, "bias": &h.B, "mean": &h.Mean, "inv_std": &h.InvStd, "transform": &h.Transform}
	for _, t := range f.Tensors {
		if t.Name == "temperature" {
			if scaling.Temperature, err = safetensors.Values[float64](t); err != nil {
				return nil, scaling, dataError("%s: %v", path, err)
			}
		}
		if values := into[t.Name]; values != nil {
			if *values, err = safetensors.Values[float32](t); err != nil {
				return nil, scaling, dataError("%s: %v", path, err)
			}
		}
	}
	h.Classes, h.Dim = len(h.B), len(h.Mean)
	square := h.Transform == nil || len(h.Transform) == h.Dim*h.Dim
	if h.Classes == 0 || h.Dim == 0 || len(h.W) != h.Classes*h.Dim || len(h.InvStd) != h.Dim || !square ||
		!slices.Contains([]int{0, 1, h.Classes}, len(scaling.Temperature)) {
		return nil, scaling, dataError("%s: tensors are missing or their shapes do not fit together", path)
	}
	return h, scaling, nil
}

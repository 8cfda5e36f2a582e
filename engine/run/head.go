package run

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/safetensors"
	"github.com/vitft/vitft/head"
)

// headFormat is the "format" of head.safetensors.
const headFormat = "vitft-head-2"

// Head is the content of head.safetensors: weight [C, D], bias [C], mean [D], inv_std [D] and, where there is one,
// transform [D, D], see head.Head; of a calibrated run also temperature [1] or [C], see calib.Scaling.
type Head struct {
	Head    *head.Head
	Scaling calib.Scaling
}

func (c Head) encode() ([]byte, error) {
	h := c.Head
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
	if n := len(c.Scaling.Temperature); n > 0 {
		f.Tensors = append(f.Tensors, safetensors.New("temperature", []int{n}, c.Scaling.Temperature))
	}
	var b bytes.Buffer
	_, err := f.WriteTo(&b)
	return b.Bytes(), err
}

func decodeHead(content []byte) (c Head, err error) {
	f, err := safetensors.Parse(content)
	if err != nil {
		return c, err
	}
	if f.Metadata["format"] != headFormat {
		return c, fmt.Errorf("it is no head of ours (format %q, not %q)", f.Metadata["format"], headFormat)
	}
	h := &head.Head{Normalize: f.Metadata["normalize"] == "true"}
	into := map[string]*[]float32{
		"weight": &h.W, "bias": &h.B, "mean": &h.Mean, "inv_std": &h.InvStd, "transform": &h.Transform,
	}
	for _, t := range f.Tensors {
		if values := into[t.Name]; values != nil {
			*values, err = safetensors.Values[float32](t)
		} else if t.Name == "temperature" {
			c.Scaling.Temperature, err = safetensors.Values[float64](t)
		}
		if err != nil {
			return c, err
		}
	}
	h.Classes, h.Dim = len(h.B), len(h.Mean)
	square := h.Transform == nil || len(h.Transform) == h.Dim*h.Dim
	if h.Classes == 0 || h.Dim == 0 || len(h.W) != h.Classes*h.Dim || len(h.InvStd) != h.Dim || !square ||
		!slices.Contains([]int{0, 1, h.Classes}, len(c.Scaling.Temperature)) {
		return c, errors.New("tensors are missing or their shapes do not fit together")
	}
	c.Head = h
	return c, nil
}

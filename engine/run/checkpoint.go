package run

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/gob"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/vitft/vitft/head"
)

// Checkpoint is what an interrupted training continues from: every float is kept bit for bit, NaN included.
type Checkpoint struct {
	Config  map[string]string // the settings, as text by key
	Images  string            // what identifies features, images and labels
	Seconds float64           // of training so far
	State   head.State
}

// Decides reports whether a training that goes on must agree in a setting: not in where features are kept, which may be
// another place on another machine.
func Decides(key string) bool { return key != "cache" }

// checkpointHead is what a checkpoint begins with. So many of the state's parameters follow one by one, then those of
// its best epoch: of a value gob makes copies, and those of all weights of a ViT take gigabytes.
type checkpointHead struct {
	Config       map[string]string
	Images       string
	Seconds      float64
	State        head.State
	Params, Best int
}

// checkpointTensor is a head.Tensor, its numbers as they are in memory.
type checkpointTensor struct {
	Name                        string
	Shape                       []int
	Values, First, Second, Mean []byte
}

// stream has a sum of its own, since a training under way has no sums yet.
func (c *Checkpoint) stream(w io.Writer) error {
	h := checkpointHead{c.Config, c.Images, c.Seconds, c.State, len(c.State.Params), len(c.State.Best)}
	h.State.Params, h.State.Best = nil, nil
	sum := sha256.New()
	e := gob.NewEncoder(io.MultiWriter(w, sum))
	err := e.Encode(h)
	var room [4][]byte
	packed := func(i int, values []float32) []byte {
		room[i], _ = binary.Append(room[i][:0], binary.LittleEndian, values) // of fixed size, so no error
		return room[i]
	}
	for _, t := range c.State.Params {
		err = cmp.Or(err, e.Encode(checkpointTensor{t.Name, t.Shape, packed(0, t.Values), packed(1, t.First),
			packed(2, t.Second), packed(3, t.Mean)}))
	}
	for _, values := range c.State.Best {
		err = cmp.Or(err, e.Encode(packed(0, values)))
	}
	if err == nil {
		_, err = io.WriteString(w, hex.EncodeToString(sum.Sum(nil)))
	}
	return err
}

// readCheckpoint reads one twice: what its sum does not fit is not decoded.
func readCheckpoint(r io.ReaderAt, size int64) (*Checkpoint, error) {
	own := make([]byte, hex.EncodedLen(sha256.Size))
	body, sum := io.NewSectionReader(r, 0, max(0, size-int64(len(own)))), sha256.New()
	_, err := io.Copy(sum, body)
	if err == nil {
		_, err = io.ReadFull(io.NewSectionReader(r, body.Size(), int64(len(own))), own)
	}
	switch {
	case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return nil, err
	case hex.EncodeToString(sum.Sum(nil)) != string(own):
		return nil, errors.New("its checksum does not fit; start the run anew without --resume")
	}
	var h checkpointHead
	d := gob.NewDecoder(bufio.NewReader(io.NewSectionReader(r, 0, body.Size())))
	err = d.Decode(&h)
	c := &Checkpoint{h.Config, h.Images, h.Seconds, h.State}
	for range h.Params {
		var t checkpointTensor
		if err != nil {
			break
		}
		err = d.Decode(&t)
		c.State.Params = append(c.State.Params, head.Tensor{Name: t.Name, Shape: t.Shape, Values: unpacked(t.Values),
			First: unpacked(t.First), Second: unpacked(t.Second), Mean: unpacked(t.Mean)})
	}
	for range h.Best {
		var values []byte
		if err != nil {
			break
		}
		err = d.Decode(&values)
		c.State.Best = append(c.State.Best, unpacked(values))
	}
	if err != nil {
		return nil, fmt.Errorf("%w; start the run anew without --resume", err)
	}
	return c, nil
}

func unpacked(b []byte) []float32 {
	if len(b) < 4 {
		return nil
	}
	values := make([]float32, len(b)/4)
	_, _ = binary.Decode(b, binary.LittleEndian, values) // of fixed size, so no error
	return values
}

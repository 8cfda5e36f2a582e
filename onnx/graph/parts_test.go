package graph

import (
	"bytes"
	"errors"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// A file of many nodes of nothing takes a hundred times its size in memory; it is refused before.
func TestTooManyParts(t *testing.T) {
	nodes := bytes.Repeat(protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), nil), 20_000_000)
	model := protowire.AppendBytes(protowire.AppendTag(nil, 7, protowire.BytesType), nodes)
	for name, read := range map[string]func([]byte) error{
		"Parse":         func(b []byte) error { _, err := Parse(b); return err },
		"ReadSignature": func(b []byte) error { _, err := ReadSignature(b); return err },
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := read(model)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, ErrModel) || !strings.Contains(err.Error(), "more than 2097152 nodes") {
			t.Errorf("%s: %v", name, err)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 8*uint64(len(model)) {
			t.Errorf("%s: took %d bytes for %d", name, took, len(model))
		}
	}
}

package avif

import (
	"bytes"
	"compress/gzip"
	"context"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// dav1d is the decoder of AV1 as WebAssembly; dav1d/build.sh made it.
//
//go:embed dav1d/dav1d.wasm.gz
var dav1d []byte

// engine compiles the decoder when the first picture comes.
var engine = sync.OnceValues(func() (*machine, error) {
	r, err := gzip.NewReader(bytes.NewReader(dav1d))
	if err != nil {
		return nil, err
	}
	code, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	const pages = maxMemory >> 16
	runtime := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithMemoryLimitPages(pages))
	// The decoder calls this after each row of blocks. An end of the context ends it there. (wazero can look at
	// contexts at every loop, which takes five times as long.)
	tick := func(ctx context.Context) {
		if err := ctx.Err(); err != nil {
			panic(err)
		}
	}
	_, err = runtime.NewHostModuleBuilder("vitft").NewFunctionBuilder().WithFunc(tick).Export("tick").Instantiate(ctx)
	if err != nil {
		return nil, err
	}
	module, err := runtime.CompileModule(ctx, code)
	return &machine{runtime, module}, err
})

type machine struct {
	runtime wazero.Runtime
	module  wazero.CompiledModule
}

// maxMemory is the most that the decoder's memory may grow to.
const maxMemory = 1 << 30

// frame is a decoded picture, whose planes lie in the decoder's memory.
type frame struct {
	width, height int
	layout        int // 0: grey; chroma is 1: halved both ways; 2: halved across; 3: whole
	bits          int
	colours       colours
	planes        [3][]byte
	strides       [3]int
	module        api.Module
}

func (f *frame) close() { f.module.Close(context.Background()) }

// decode decodes the first picture of AV1 data, of at most so many pixels.
func decode(ctx context.Context, data []byte, most int) (*frame, error) {
	m, err := engine()
	if err != nil {
		return nil, fmt.Errorf("avif: the decoder: %w", err)
	}
	module, err := m.runtime.InstantiateModule(ctx, m.module, wazero.NewModuleConfig().WithName("").
		WithStartFunctions("_initialize"))
	if err != nil {
		return nil, fmt.Errorf("avif: the decoder: %w", err)
	}
	f := &frame{module: module}
	if err := f.run(ctx, data, most); err != nil {
		f.close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	return f, nil
}

func (f *frame) run(ctx context.Context, data []byte, most int) error {
	allocate := f.module.ExportedFunction("allocate")
	in, err := allocate.Call(ctx, uint64(len(data)))
	if err != nil {
		return err
	}
	memory := f.module.Memory()
	if in[0] == 0 || !memory.Write(uint32(in[0]), data) {
		return errors.New("avif: no memory to decode")
	}
	decode := f.module.ExportedFunction("decode")
	result, err := decode.Call(ctx, in[0], uint64(len(data)), uint64(most))
	if err != nil {
		return FormatError(fmt.Sprintf("the decoder gave up: %.80s", err))
	}
	if code := int32(result[0]); code != 0 {
		const again = -6 // more data are wanted
		if code == again {
			return fmt.Errorf("avif: the picture is cut off: %w", io.ErrUnexpectedEOF)
		}
		return FormatError(fmt.Sprintf("the picture cannot be decoded (%d)", code))
	}
	const words = 12
	at, err := f.module.ExportedFunction("picture").Call(ctx)
	if err != nil {
		return err
	}
	head, ok := memory.Read(uint32(at[0]), 4*words)
	if !ok {
		return errors.New("avif: the decoder's answer is outside its memory")
	}
	word := func(i int) int { return int(binary.LittleEndian.Uint32(head[4*i:])) }
	f.width, f.height, f.layout, f.bits = word(5), word(6), word(7), word(8)
	f.colours = colours{word(9), word(10), word(11) != 0, true}
	for i := range f.planes {
		w, h := f.planeSize(i)
		if w == 0 {
			continue
		}
		f.strides[i] = word(3 + min(i, 1))
		size := f.strides[i]*(h-1) + w*((f.bits+7)/8)
		if f.planes[i], ok = memory.Read(uint32(word(i)), uint32(size)); !ok {
			return errors.New("avif: a plane is outside the decoder's memory")
		}
	}
	return nil
}

// planeSize is the samples across and down of a plane.
func (f *frame) planeSize(i int) (w, h int) {
	w, h = f.width, f.height
	if i == 0 {
		return w, h
	}
	switch f.layout {
	case 0:
		return 0, 0
	case 1:
		return (w + 1) / 2, (h + 1) / 2
	case 2:
		return (w + 1) / 2, h
	}
	return w, h
}

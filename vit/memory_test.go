package vit

import (
	"context"
	"errors"
	"image"
	"runtime"
	"strings"
	"testing"

	"github.com/vitft/vitft/internal/testkit"
)

// done is a use of a decoded image that needs no memory.
func done() error { return nil }

// What decoding takes is what the header says, for files of one colour, which take the least room for the most pixels.
func TestMemoryOfIsWhatDecodingTakes(t *testing.T) {
	if testing.Short() {
		t.Skip("with -short, as under the race detector, which takes memory of its own")
	}
	const side, slack = 2600, 12 << 20
	p := DefaultPreprocess(224, 224)
	dst := make([]float32, p.Size())
	for name, file := range hollow(t, side) {
		data := file()
		f := sniff(data)
		w, h, err := f.config(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := memoryOf(f.name, data, w, h)
		took := testkit.PeakMemory(t, func() { err = p.Bytes(data, dst) })
		t.Logf("%-32s %5.2f bytes a pixel of %5.2f", name, float64(took)/side/side, float64(want)/side/side)
		if err != nil || took > want+slack {
			t.Errorf("%s: took %d bytes, said %d: %v", name, took, want, err)
		}
	}
}

// More than a gigabyte is refused, and the refusal takes next to nothing.
func TestMemoryToDecodeIsBounded(t *testing.T) {
	const most = 13377 // its square is just within MaxPixels
	vp8l := hollowVP8L(most, 0, 0)
	for name, c := range map[string]struct {
		data []byte
		fits bool
	}{
		"png":                           {pngHead(most, 8, 2, 0), true},
		"png, RGBA":                     {pngHead(most, 8, 6, 0), true},
		"png, 16 bits":                  {pngHead(most, 16, 6, 0), false},
		"png, 97 million of 16 bits":    {pngHead(9800, 16, 6, 0), true},
		"png, interlaced":               {pngHead(most, 8, 6, 1), false},
		"png, 100 million interlaced":   {pngHead(10000, 8, 2, 1), true},
		"jpeg":                          {jpegHead(most, 0xc0, 0x11), false}, // no scan is seen
		"jpeg, with its scan":           {hollowJPEG(most, 0xc0, 0x11), true},
		"jpeg, progressive":             {jpegHead(most, 0xc2, 0x11), false},
		"jpeg, 100 million progressive": {jpegHead(10000, 0xc2, 0x11), true},
		"jpeg, 160 million progressive, chroma halved": {jpegHead(12649, 0xc2, 0x22), true},
		"webp, lossless": {vp8l, false},
		"ppm, 8 bits":    {[]byte("P6 13377 13377 255 "), true},
		"ppm, 16 bits":   {[]byte("P6 13377 13377 65535 "), true},
		"gif":            {[]byte("GIF89a\x41\x34\x41\x34\x00\x00\x00,\x00\x00\x00\x00\x41\x34\x41\x34\x00\x08"), true},
	} {
		f := sniff(c.data)
		w, h, err := f.config(c.data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := checkMemory(f.name, w, h, memoryOf(f.name, c.data, w, h)); (err == nil) != c.fits {
			t.Errorf("%s: %v", name, err)
		}
		if c.fits {
			continue
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err = decode(t.Context(), c.data, new(RGB), MaxPixels, done)
		runtime.ReadMemStats(&after)
		ie, ok := errors.AsType[*ImageError](err)
		if !ok || ie.Reason != ReasonTooLarge || !strings.Contains(err.Error(), "decode; the limit is 1024 MiB") {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
			t.Errorf("%s: took %d bytes", name, used)
		}
	}
}

// All that decode at once share the memory, whatever becomes of it; who waits for it waits no longer than its context.
func TestMemoryIsShared(t *testing.T) {
	if !memory.TryAcquire(shared) {
		t.Fatal("memory is taken before anything is decoded")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	file := hollow(t, 64)["png 8 rgb"]()
	if err := decode(ctx, file, new(RGB), MaxPixels, done); !errors.Is(err, context.Canceled) {
		t.Errorf("while all is taken: %v", err)
	}
	memory.Release(shared)
	boom := errors.New("boom")
	err := decode(t.Context(), file, new(RGB), MaxPixels, func() error {
		if memory.TryAcquire(shared) {
			t.Error("an image in use takes no memory")
		}
		return boom
	})
	_, cut := Decode(file[:60])
	if err != boom || cut == nil || !memory.TryAcquire(shared) {
		t.Errorf("%v, %v, and memory is not given back", err, cut)
	}
	memory.Release(shared)
}

// Large images one after another, and at once, take no more than one may.
func TestMemoryOfManyImages(t *testing.T) {
	if testing.Short() {
		t.Skip("decodes 700 MiB")
	}
	file := hollow(t, 7800)["png 16 rgb"]() // 640 MiB each: one at a time up to five processors
	p := DefaultPreprocess(224, 224)
	took := testkit.PeakMemory(t, func() {
		errs := make(chan error)
		for range 3 {
			go func() { errs <- p.Bytes(file, make([]float32, p.Size())) }()
		}
		for range 3 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	})
	if took > shared+64<<20 {
		t.Errorf("took %d MiB of %d", took>>20, shared>>20)
	}
}

// A large image becomes RGB in its own memory, with the pixels it has otherwise.
func TestTakeInPlace(t *testing.T) {
	r := image.Rect(0, 0, 420, 410)
	nrgba, opaque, translucent := image.NewNRGBA(r), image.NewRGBA(r), image.NewRGBA(r)
	noisy(nrgba.Pix, 4, 0)
	noisy(opaque.Pix, 4, 1)
	noisy(translucent.Pix, 4, 0)
	for _, c := range []struct {
		m     image.Image
		pix   []byte
		moves bool
	}{{nrgba, nrgba.Pix, false}, {opaque, opaque.Pix, false}, {translucent, translucent.Pix, true}} {
		want, got := FromImage(c.m), new(RGB)
		got.take(c.m)
		if got.Width != 420 || got.Height != 410 || string(got.Pix) != string(want.Pix) {
			t.Errorf("%T: other pixels", c.m)
		}
		if moved := &got.Pix[0] != &c.pix[0]; moved != c.moves {
			t.Errorf("%T: moved %v", c.m, moved)
		}
	}
}

// noisy fills pixels of size bytes, of which the last so many are opaque.
func noisy(pix []byte, size, opaque int) {
	state := uint32(1)
	for i := range pix {
		state = state*1664525 + 1013904223
		pix[i] = byte(state >> 24)
		if i%size >= size-opaque {
			pix[i] = 255
		}
	}
}

// A batch that memory has no room for is refused before it is there.
func TestBatchesAreBounded(t *testing.T) {
	e := Encoder{Model: &fakeModel{dim: 192}, Preprocess: DefaultPreprocess(8192, 8192), Batch: 4096}
	err := e.Encode(t.Context(), 1<<20, nil, nil)
	if err == nil || !strings.HasPrefix(err.Error(), "batch: 4096 images of 8192×8192 pixels, 3 times, takes 9216") {
		t.Error(err)
	}
}

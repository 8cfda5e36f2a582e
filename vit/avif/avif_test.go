package avif

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/vitft/vitft/internal/testkit"
)

// Pixels are compared with Pillow's in package vit.
func TestDecode(t *testing.T) {
	data := testkit.ReadFile(t, "..", "testdata", "flat-2600x2600.avif")
	c, err := DecodeConfig(data)
	if err != nil || c.Width != 2600 || c.Height != 2600 || c.Deep || c.Orientation != 1 {
		t.Fatalf("%+v, %v", c, err)
	}
	pix, _, err := Decode(t.Context(), nil, data)
	if err != nil || len(pix) != 3*2600*2600 {
		t.Fatalf("%d bytes, %v", len(pix), err)
	}
	for i := 3; i < len(pix); i++ {
		if pix[i] != pix[i-3] {
			t.Fatalf("byte %d is %d in a picture of one colour, %v", i, pix[i], pix[:3])
		}
	}
	other, _, err := Decode(t.Context(), pix, data)
	if err != nil || &other[0] != &pix[0] {
		t.Errorf("the buffer is not used: %v", err)
	}
}

// An end of the context ends the work in its midst: the first row of blocks looks at it.
func TestEndOfContext(t *testing.T) {
	data := testkit.ReadFile(t, "..", "testdata", "flat-2600x2600.avif")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := Decode(ctx, nil, data); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// What the boxes irot and imir ask for is what EXIF calls it: turns are to the left and come before the mirror.
func TestOrientation(t *testing.T) {
	for turns, want := range [][3]int{{1, 4, 2}, {8, 5, 7}, {3, 2, 4}, {6, 7, 5}} {
		for mirror := range 3 {
			f := &file{primary: 1, items: map[uint32]*item{1: {properties: []int{1, 2}}}, properties: []box{
				{"irot", []byte{byte(turns)}}, {"imir", []byte{byte(mirror - 1)}},
			}}
			if mirror == 0 {
				f.properties = f.properties[:1]
			}
			if got := f.orientation(); got != want[mirror] {
				t.Errorf("%d turns, mirror %d: %d, want %d", turns, mirror-1, got, want[mirror])
			}
		}
	}
}

// FuzzParse: any bytes give a picture whose parts are within the data, or an error of a promised kind.
func FuzzParse(f *testing.F) {
	f.Add([]byte(testkit.ReadFile(f, "..", "testdata", "flat-2600x2600.avif")))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := parse(data)
		var p picture
		if err == nil {
			p, err = file.picture()
		}
		if err != nil {
			if !errors.As(err, new(FormatError)) && !errors.As(err, new(UnsupportedError)) &&
				!errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("%v is none of the promised errors", err)
			}
			return
		}
		for _, id := range p.tiles {
			if body, err := file.content(id); err == nil && len(body) > len(data) {
				t.Fatalf("item %d has %d bytes of %d", id, len(body), len(data))
			}
		}
		if o := p.config.Orientation; o < 1 || o > 8 || len(p.config.XMP) > len(data) ||
			!bytes.Contains(data, []byte("ispe")) {
			t.Fatalf("%+v", p.config)
		}
	})
}

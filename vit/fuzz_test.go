package vit

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// FuzzDecode: any bytes give a whole image or an *ImageError.
func FuzzDecode(f *testing.F) {
	files, err := os.ReadDir("testdata/images")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(filepath.Join("testdata/images", file.Name()))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	const limit = 1 << 18
	f.Fuzz(func(t *testing.T, data []byte) {
		var img RGB
		if err := decode(t.Context(), data, &img, limit, done); err != nil {
			if !errors.As(err, new(*ImageError)) {
				t.Fatalf("%v is no *ImageError", err)
			}
			return
		}
		if img.Width < 1 || img.Height < 1 || img.Width*img.Height > limit || len(img.Pix) != 3*img.Width*img.Height {
			t.Fatalf("%d×%d pixels in %d bytes", img.Width, img.Height, len(img.Pix))
		}
		if img.Orientation < 1 || img.Orientation > 8 {
			t.Fatalf("orientation %d", img.Orientation)
		}
	})
}

// FuzzOrientation: the parsers of EXIF data and of the containers around them stay within the data.
func FuzzOrientation(f *testing.F) {
	for _, name := range []string{"orientation-6.jpg", "orientation.png", "orientation.tiff", "cmyk.jpg",
		"transparent.gif", "orientation.webp"} {
		data, _ := fixture(f, name)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, o := range []int{jpegOrientation(data), pngOrientation(data), tags{exif: data}.orientation()} {
			if o < 1 || o > 8 {
				t.Fatalf("orientation %d", o)
			}
		}
		if f, err := parseGIF(data); err == nil && (f.pixels > len(data) || len(f.palette) > 768) {
			t.Fatalf("%+v of %d bytes", f, len(data))
		}
		if len(data) >= 12 {
			if file, err := parseWebP(data); err == nil && (file.width < 0 || file.height < 0) {
				t.Fatalf("%d×%d pixels", file.width, file.height)
			}
		}
	})
}

// FuzzPNM: a header that is accepted leaves its samples.
func FuzzPNM(f *testing.F) {
	f.Add([]byte("P5\n# a comment\n7 5 100\n"))
	f.Add([]byte("P6 1 1 65535\nabcdef"))
	f.Add([]byte("P5 99999999999999999999 1 255 "))
	f.Fuzz(func(t *testing.T, data []byte) {
		if sniff(data) != formatPNM {
			return
		}
		h, err := parsePNM(data)
		if err != nil {
			return
		}
		if h.width < 0 || h.height < 0 || h.max < 1 || h.max > 65535 || len(h.samples) > len(data) {
			t.Fatalf("%+v", h)
		}
	})
}

// FuzzParseHF: what is accepted is valid.
func FuzzParseHF(f *testing.F) {
	f.Add([]byte(`{"crop_size": {"height": 224, "width": 224}, "do_center_crop": true, "image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 256}}`))
	f.Add([]byte(`{"crop_pct": 0.875, "image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 224}}`))
	f.Add([]byte(`{"pretrained_cfg": {"input_size": [3, 224, 224], "crop_pct": 0.9}}`))
	f.Add([]byte(`{"model_cfg": {"vision_cfg": {"image_size": [9, 8]}}, "preprocess_cfg": {"resize_mode": "squash"}}`))
	f.Add([]byte(utf16(`{"image_processor_type": "EfficientNetImageProcessor", "rescale_offset": true}`)))
	f.Add([]byte(`{"size": [8, 8], "rescale_factor": 1e-300, "image_std": [1e300, 1, 1]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParseHF(data)
		if err != nil {
			return
		}
		if err := p.Validate(); err != nil {
			t.Fatalf("accepts %s: %v", data, err)
		}
		if q, err := ParsePreprocess(mustJSON(t, p)); err != nil || q != p {
			t.Fatalf("%+v is %+v after JSON: %v", p, q, err)
		}
	})
}

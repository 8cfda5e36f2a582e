package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/onnx"
)

// picture is dark or light, as PNG.
func picture(t *testing.T, shade, i int) []byte {
	img := image.NewGray(image.Rect(0, 0, 30, 30))
	for p := range img.Pix {
		img.Pix[p] = byte(shade + (p*7+i*13)%30)
	}
	img.SetGray(i, i, color.Gray{Y: 128})
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestService(t *testing.T) {
	if _, err := onnx.Find(""); err != nil {
		t.Skipf("ONNX Runtime is missing (vitft setup): %v", err)
	}
	dir := t.TempDir()
	shades := map[string]int{"dark": 20, "light": 200}
	for class, shade := range shades {
		for i := range 5 {
			path := filepath.Join(dir, "photos", class, fmt.Sprint(i, ".png"))
			os.MkdirAll(filepath.Dir(path), 0o755)
			if err := os.WriteFile(path, picture(t, shade, i), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	run, err := engine.Finetune(t.Context(), engine.FinetuneOptions{
		Data:     dataset.Sources{Train: filepath.Join(dir, "photos")},
		Features: feature.Options{Cache: filepath.Join(dir, "cache")},
		Device:   device.Options{Provider: "cpu"},
		Training: head.Settings{Epochs: 3},
		Out:      filepath.Join(dir, "run"),
	}, event.Events{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := classify.Open(run.Run, classify.Options{Device: device.Options{Provider: "cpu"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	server := httptest.NewServer(handler(c))
	defer server.Close()
	for class, shade := range shades {
		response, err := http.Post(server.URL, "image/png", bytes.NewReader(picture(t, shade, 9)))
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Label string
			Top   []classify.Score
		}
		err = json.NewDecoder(response.Body).Decode(&got)
		response.Body.Close()
		if err != nil || got.Label != class || len(got.Top) != 2 {
			t.Errorf("a %s picture is %+v (%v)", class, got, err)
		}
	}
	response, err := http.Post(server.URL, "image/png", strings.NewReader("no image"))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("what is no image gets status %d", response.StatusCode)
	}
}

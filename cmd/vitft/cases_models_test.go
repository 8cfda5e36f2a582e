//go:build unix

package main

import (
	"strings"
	"testing"
)

func init() {
	for name, words := range map[string][]string{
		"hf-config-bom":      {"16×16, resize exact, bicubic, mean [0.485 0.456 0.406]", "m/preprocessor_config.json"},
		"hf-processor-blip":  {"16×16, resize exact, bicubic", "m/preprocessor_config.json"},
		"hf-processor-pvt":   {"16×16, resize exact, bilinear, mean [0.485 ", "m/preprocessor_config.json"},
		"openclip-config":    {"16×16, resize shortest 16, bicubic, mean [0.4814", "m/open_clip_config.json"},
		"onnx-argmax-tail":   {"feature      cls_token [-1 8], pooling logits-input"},
		"onnx-topk-tail":     {"feature      cls_token [-1 8], pooling logits-input"},
		"hf-crop-odd-margin": {"largest difference"},
		"hub-folder-preprocessor-in-parent": {"16×16, resize exact, bicubic, mean [0.5 0.5 0.5], std [0.5 0.5 0.5]",
			"repo/preprocessor_config.json"},
		"onnx-normalisation-inside": {"mean [0 0 0], std [1 1 1]", "the graph normalises"},
		"ultralytics-cls-metadata": {"16×16, resize shortest 16, bilinear, mean [0 0 0], std [1 1 1]",
			"of an Ultralytics classifier"},
	} {
		expected[name] = func(t *testing.T, s outcome) {
			succeeds(t, s)
			for _, word := range words {
				if !strings.Contains(s.stdout, word) {
					t.Errorf("says no %q:\n%s%s", word, s.stdout, s.stderr)
				}
			}
		}
	}
	expected["onnx-xml-called-web-page"] = func(t *testing.T, s outcome) {
		if s.code != 3 || strings.Contains(s.stderr, "web page") || !strings.Contains(s.stderr, "OpenVINO") {
			t.Errorf("exit code %d\n%s", s.code, s.stderr)
		}
	}
}

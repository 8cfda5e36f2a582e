package vit

import (
	"fmt"
	"regexp"
	"strconv"
)

// sides are the one or two whole numbers of a Python list.
var sides = regexp.MustCompile(`^[\[(]?\s*(\d+)\s*(?:,\s*(\d+)\s*)?[\])]?$`)

// Ultralytics is the preprocessing of a classifier that Ultralytics exported, whose image size is imgsz: what its
// classify_transforms do.
func Ultralytics(imgsz string) (Preprocess, error) {
	m := sides.FindStringSubmatch(imgsz)
	if m == nil {
		return Preprocess{}, fmt.Errorf("imgsz %q is not [height, width]", imgsz)
	}
	height, _ := strconv.Atoi(m[1]) // what is too large is refused below
	width := height
	if m[2] != "" {
		width, _ = strconv.Atoi(m[2])
	}
	p := Preprocess{Width: width, Height: height, Resize: "shortest", ResizeTo: height, Interpolation: "bilinear",
		Std: [3]float32{1, 1, 1}, Orientation: true}
	if width != height {
		p.Resize, p.ResizeTo = "exact", 0
	}
	return p, p.Validate()
}

package feature

import (
	"bytes"
	"fmt"
	"image"
	_ "image/jpeg" // formats whose sizes are looked at
	_ "image/png"
	"slices"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/event"
)

// A backbone that sees no more pixels than small a side sees little of images that have coarse times as many.
const small, coarse = 64, 3

// WarnCoarse says so where a backbone that is made for tiny pictures is to look at photos, as the embedded one is.
func WarnCoarse(b *backbone.Backbone, d *dataset.Dataset, ev event.Events) {
	seen := min(b.Preprocess.Width, b.Preprocess.Height)
	if seen > small || d == nil {
		return
	}
	var sides []int
	for i := range min(9, len(d.Items)) { // from all over the set; the median of a few tells photos from icons
		content, err := d.Items[i*len(d.Items)/min(9, len(d.Items))].Bytes()
		if err != nil {
			continue
		}
		if c, _, err := image.DecodeConfig(bytes.NewReader(content)); err == nil {
			sides = append(sides, min(c.Width, c.Height))
		}
	}
	if len(sides) == 0 {
		return
	}
	slices.Sort(sides)
	if side := sides[len(sides)/2]; side >= coarse*seen {
		cure := "take one with --backbone; 'vitft models list' shows some"
		if b.Name == backbone.Default() {
			cure = "vitft models pull dinov2-small fetches one, --backbone dinov2-small takes it"
		}
		ev.Warn("this backbone is made for tiny pictures, and knows little of what is on photos", "backbone", b.Name,
			"sees", fmt.Sprintf("%d×%d pixels", b.Preprocess.Width, b.Preprocess.Height),
			"images are about", fmt.Sprintf("%d pixels a side", side), "cure", cure)
	}
}

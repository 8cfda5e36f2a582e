package explain

import (
	"context"

	"github.com/vitft/vitft/onnx/vision"
)

// occlude asks about the photo, the blank image, and the photo with each patch blanked.
func (e *Explainer) occlude(ctx context.Context, x *Explanation, class int) error {
	x.Method = Occlusion
	size, plane, columns := len(x.pixels), x.Width*x.Height, len(x.Grid[0])
	n := 2 + len(x.Grid)*columns
	outputs, logits := make([][]float32, len(e.occluded.Outputs())), []float32(nil)
	for i, v := range e.occluded.Outputs() {
		outputs[i] = make([]float32, batch*int(v.Shape[1]))
		if v.Name == vision.Logits {
			logits = outputs[i]
		}
	}
	images := make([]float32, batch*size)
	for from := 0; from < n; from += batch {
		some := min(batch, n-from)
		for k := range some {
			image := images[k*size : (k+1)*size]
			for i, v := range x.pixels {
				patch := i%plane/x.Width/x.Patch*columns + i%x.Width/x.Patch
				if which := from + k; which == 1 || which-2 == patch {
					v = 0
				}
				image[i] = v
			}
		}
		if err := e.occluded.Run(ctx, images[:some*size], some, outputs...); err != nil {
			return err
		}
		for k := range some {
			logit := float64(logits[k*len(e.says.Labels)+class])
			switch which := from + k; which {
			case 0:
				x.Logit = logit
			case 1:
				x.Blank = logit
			default:
				x.Grid[(which-2)/columns][(which-2)%columns] = x.Logit - logit
			}
		}
	}
	return nil
}

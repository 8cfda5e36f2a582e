package vision

import (
	"fmt"
	"math"
	"slices"

	"github.com/vitft/vitft/onnx/graph"
)

// choosePooling settles pooling, prefix and width of the chosen tensor.
func (f *finder) choosePooling(ft Feature, im ImageInput) Feature {
	s := slices.Clone(f.shapes[ft.Tensor])
	if len(s) > 0 && im.Batch == graph.Unknown { // it was inferred for some batch
		s[0] = graph.Unknown
	}
	ft.Shape = s
	switch {
	case len(s) == 2:
		if ft.Pooling == PoolCLS || ft.Pooling == PoolMean || ft.Pooling == PoolCLSMean {
			f.problem("pooling %s needs tokens [B,N,D], and %s is %v", ft.Pooling, ft.Tensor, s)
		}
		if ft.Pooling == PoolAuto {
			ft.Pooling = PoolOutput
		}
		ft.Dim = s[1]
	case len(s) == 3:
		ft = f.poolTokens(ft, im)
	case len(s) == 4:
		if ft.Pooling == PoolCLS || ft.Pooling == PoolCLSMean || ft.Pooling == PoolOutput {
			f.problem("pooling %s does not apply to the feature map %s %v; use mean", ft.Pooling, ft.Tensor, s)
		}
		ft.Pooling, ft.Dim = PoolMean, s[1]
		if f.channelsLast(ft.Tensor, s) {
			ft.Layout, ft.Dim = "NHWC", s[3]
		}
		f.reason("the feature is the mean over the positions of %s %v", ft.Tensor, s)
	case s == nil:
		f.problem("the shape of %s cannot be inferred; run onnx.shape_inference on the model, or name another tensor", ft.Tensor)
	default:
		f.problem("%s has shape %v, need [B,D], [B,N,D] or [B,D,h,w]", ft.Tensor, s)
	}
	if f.failed() {
		return ft
	}
	if ft.Dim < 1 {
		f.problem("the length of the feature, the last dimension of %s %v, cannot be inferred; run onnx.shape_inference on the "+
			"model", ft.Tensor, s)
	}
	if s[0] > 0 && im.Batch > 0 && s[0] != im.Batch {
		f.problem("%s has shape %v for a batch of %d: it is not one feature per image", ft.Tensor, s, im.Batch)
	}
	return ft
}

func (f *finder) poolTokens(ft Feature, im ImageInput) Feature {
	prefix, cls, why := f.prefixTokens(ft.Shape[1], im)
	ft.Prefix = prefix
	switch ft.Pooling {
	case PoolAuto, PoolLogits:
		ft.Pooling = PoolCLS
		if !cls {
			ft.Pooling = PoolMean
		}
		f.reason("%s: pooling %s", why, ft.Pooling)
	case PoolOutput:
		f.problem("pooling pooled needs [B,D], and %s is %v; use cls, mean or cls+mean", ft.Tensor, ft.Shape)
	default:
		f.reason("%s; pooling %s was asked for", why, ft.Pooling)
		if !cls && ft.Pooling != PoolMean {
			f.problem("pooling %s needs a CLS token, and the model has none; use mean", ft.Pooling)
		}
	}
	ft.Dim = ft.Shape[2]
	if ft.Pooling == PoolCLSMean && ft.Dim > 0 {
		ft.Dim *= 2
	}
	return ft
}

// prefixTokens returns how many of n tokens stand before the patches (CLS, distillation, registers), and whether the
// first of them is a CLS token.
func (f *facts) prefixTokens(n int64, im ImageInput) (prefix int64, cls bool, why string) {
	put, cls, name := f.prepended()
	if p := f.patch(im.Input); p > 0 && n > 0 && im.Width > 0 && im.Height > 0 {
		grid := (im.Height / p) * (im.Width / p)
		count := fmt.Sprintf("%d tokens for %d patches of %d px", n, grid, p)
		switch k := n - grid; {
		case k == 0:
			return 0, false, count + ": no CLS token"
		case k > 0 && k <= 64 && put != 0 && !cls:
			return k, false, fmt.Sprintf("%s: %d registers (%s) before them, no CLS token", count, k, name)
		case k > 0 && k <= 64:
			return k, true, fmt.Sprintf("%s: %d before them, CLS first", count, k)
		}
	}
	if put > 0 {
		prefix = put
		for k := put; k <= put+16; k++ { // registers may have been put in later
			if isSquare(n - k) {
				prefix = k
				break
			}
		}
		if cls {
			return prefix, true, fmt.Sprintf("the constant token %s is put before the patches: a CLS token", name)
		}
		return prefix, false, fmt.Sprintf("the constant tokens %s are put before the patches: registers, no CLS token", name)
	}
	if isSquare(n) {
		return 0, false, fmt.Sprintf("%d tokens, a square: no CLS token", n)
	}
	if isSquare(n - 1) {
		return 1, true, fmt.Sprintf("%d tokens, a square and one: a CLS token", n)
	}
	return 0, false, "no sign of a CLS token"
}

func isSquare(n int64) bool {
	if n < 4 {
		return false
	}
	r := int64(math.Round(math.Sqrt(float64(n))))
	return r*r == n
}

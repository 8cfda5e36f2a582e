package adapter

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/inside"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/internal/machine"
	"github.com/vitft/vitft/internal/vec"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/adapt"
	"github.com/vitft/vitft/onnx/grad"
	"github.com/vitft/vitft/onnx/graph"
	"github.com/vitft/vitft/onnx/vision"
)

// Plan is what is to be trained inside a backbone, and by which graphs.
type Plan struct {
	backbone *backbone.Backbone
	options  inside.Options
	seed     uint64
	inserted adapt.Options
	adapted  *adapt.Adapted
	frozen   *graph.Model // pixels → tokens
	sum      string       // of frozen
	step     *graph.Model // tokens that are kept → embedding, with gradients
	whole    *graph.Model // all tokens → embedding
	kept     int          // tokens in training
	always   int          // so many of them are the first ones
	byClass  bool         // the embedding is that of the first token
}

// perParameter is how many bytes each takes in training: values, two gradients, two moments, and what an
// interrupted epoch goes back to.
const perParameter = 8 * 4

// seedInput is the input of the graph with gradients that takes that of the embedding.
const seedInput = "gradient"

// NewPlan decides what is trained inside a backbone for so many classes. What cannot be trained is refused, by node and
// name, before anything is encoded.
func NewPlan(b *backbone.Backbone, classes int, seed uint64, o inside.Options) (*Plan, error) {
	p := &Plan{backbone: b, options: o, seed: seed}
	if o.Micro == 0 {
		if p.options.Micro = 16; p.onGPU() { // where small ones spend their time on starting nodes
			p.options.Micro = 64
		}
	}
	if err := p.build(classes); err != nil {
		return nil, fmt.Errorf("adapt %s: %w", b.Name, err)
	}
	return p, nil
}

// Seeded is the same plan with another start, and other draws of tokens and images.
func (p *Plan) Seeded(seed uint64) (*Plan, error) {
	q := *p
	q.seed, q.inserted.Seed = seed, seed
	var err error
	q.adapted, err = p.adapted.Insert(q.inserted)
	return &q, err
}

func (p *Plan) build(classes int) error {
	o := p.options
	model, err := p.backbone.Whole()
	if err != nil {
		return err
	}
	if err := adapt.AnyBatch(model); err != nil {
		return err
	}
	t, err := adapt.Find(model)
	if err != nil && vision.Single(model) != model {
		err = fmt.Errorf("%w (it judges several views of an image, as a run with tta leaves it: adapt the backbone "+
			"that the run began with)", err)
	}
	if err != nil {
		return err
	}
	blocks, err := o.Last(len(t.Blocks))
	if err != nil {
		return err
	}
	rank, _ := strconv.Atoi(o.Rank)
	if rank == 0 {
		rank = adapt.AutoRank(classes, len(t.Blocks))
	}
	p.inserted = adapt.Options{Kind: adapt.Kind(o.Kind), Blocks: blocks, Rank: rank, Seed: p.seed}
	if strings.Contains(o.Kind, string(adapt.Adapter)) || strings.Contains(o.Kind, string(adapt.LoRA)) {
		err := machine.Check(perParameter*2*float64(rank)*float64(t.Dim)*float64(blocks), "adapt-rank: training with "+
			"rank %d in %d blocks of %d features", rank, blocks, t.Dim)
		if err != nil {
			return err
		}
	}
	p.adapted, err = t.Insert(p.inserted)
	if err != nil {
		return err
	}
	if p.frozen, err = p.adapted.Frozen(); err != nil {
		return err
	}
	if p.sum, err = p.frozen.Sum(); err != nil {
		return err
	}
	if p.whole, err = p.adapted.Trained(adapt.Part{}); err != nil {
		return err
	}
	if p.adapted.ByClassToken() {
		// What cannot be computed so after all is computed for all tokens.
		one, err := p.adapted.Trained(adapt.Part{ClassToken: true})
		if err == nil && p.same(p.whole, one) == nil {
			p.whole, p.byClass = one, true
		}
	}
	return p.some()
}

// same runs two parts on tokens and says where they differ.
func (p *Plan) same(a, b *graph.Model) error {
	x := p.waves(2 * int(p.adapted.Tokens))
	want, err := p.probe(a, x)
	if err != nil {
		return err
	}
	got, err := p.probe(b, x)
	if err != nil {
		return err
	}
	if i := vec.Differs(want, got, 1e-4); i >= 0 {
		return fmt.Errorf("an embedding is %v instead of %v", got[i], want[i])
	}
	return nil
}

// waves are tokens of no image.
func (p *Plan) waves(tokens int) []float32 {
	x := make([]float32, tokens*p.width())
	for i := range x {
		x[i] = float32(math.Sin(0.37 * float64(i)))
	}
	return x
}

// probe runs a part on the tokens of two images.
func (p *Plan) probe(m *graph.Model, x []float32) ([]float32, error) {
	const n = 2
	text, err := m.Bytes()
	if err != nil {
		return nil, err
	}
	s, err := onnx.NewSession(text, p.backbone.Beside().Session(""))
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var starts [][]float32
	for _, v := range p.adapted.Params() {
		starts = append(starts, v.Start())
	}
	out := onnx.Tensor{Shape: []int64{n, int64(p.Dim())}, Data: make([]float32, n*p.Dim())}
	return out.Data, s.Run(context.Background(), p.inputs(x, starts, n, len(x)/n/p.width()), []onnx.Tensor{out})
}

// inputs are those of a part: tokens of n images, then parameters.
func (p *Plan) inputs(tokens []float32, values [][]float32, n, kept int) []onnx.Tensor {
	in := []onnx.Tensor{{Shape: []int64{int64(n), int64(kept), int64(p.width())}, Data: tokens}}
	for i, v := range p.adapted.Params() {
		in = append(in, onnx.Tensor{Shape: v.Shape, Data: values[i]})
	}
	return in
}

// some makes the graph that is trained, of the tokens that are kept.
func (p *Plan) some() error {
	share, err := strconv.ParseFloat(p.options.Keep, 64)
	auto := err != nil
	if auto {
		// In the last half of the blocks a third is as good as all, in all of them it is far worse.
		share = 1.0 / 3
		if blocks := len(p.adapted.Blocks); 2*(blocks-p.adapted.First) > blocks {
			share = 1
		}
	}
	// What stands before the patches, a class token and registers, is never left out. Where nothing does, that is one
	// patch more.
	p.always = max(1, int(p.adapted.Prefix()))
	p.kept = p.always + max(1, int(math.Round(share*float64(int(p.adapted.Tokens)-p.always))))
	part := adapt.Part{Tokens: int64(p.kept), ClassToken: p.byClass}
	err = p.runs(part)
	if err == nil {
		p.step, err = p.adapted.Gradients(part, seedInput)
	}
	if err != nil && auto {
		p.kept, part.Tokens = int(p.adapted.Tokens), 0
		p.step, err = p.adapted.Gradients(part, seedInput)
	} else if err != nil && p.kept < int(p.adapted.Tokens) {
		err = fmt.Errorf("%w; keep-tokens=1 keeps all", err)
	}
	return err
}

// runs says why a part cannot be of fewer tokens than the backbone has.
func (p *Plan) runs(part adapt.Part) error {
	m, err := p.adapted.Trained(part)
	if err != nil || part.Tokens == p.adapted.Tokens {
		return err
	}
	// One image twice, the second time with its patches backwards.
	x, width := p.waves(p.kept), p.width()
	x = append(x, x[:p.always*width]...)
	for k := p.kept - 1; k >= p.always; k-- {
		x = append(x, x[k*width:(k+1)*width]...)
	}
	out, err := p.probe(m, x)
	if err == nil && vec.Differs(out[:p.Dim()], out[p.Dim():], 1e-4) >= 0 {
		err = fmt.Errorf("%w: it tells patches by their places among the tokens (its feature is of a token behind "+
			"them, perhaps, or positions are computed in each block), so none can be left out", graph.ErrModel)
	}
	return err
}

// Describe says what is trained with so many images, for the log.
func (p *Plan) Describe(images int) []any {
	return []any{"kind", p.options.Kind, "blocks", fmt.Sprintf("%d to %d", p.adapted.First, len(p.adapted.Blocks)-1),
		"parameters", p.Parameters(), "tokens", fmt.Sprintf("%d of %d", p.kept, p.adapted.Tokens),
		"disk", fmt.Sprintf("%.3g GB in the feature store", float64(p.disk(images))/1e9)}
}

// Left is how many attentions of the backbone are before the blocks that are trained, which are all that were found.
func (p *Plan) Left() int {
	if p.adapted.First > 0 {
		return 0
	}
	return p.adapted.Before()
}

// Blocks is in how many blocks something is trained.
func (p *Plan) Blocks() int { return len(p.adapted.Blocks) - p.adapted.First }

// Parameters is how many numbers are trained inside the backbone.
func (p *Plan) Parameters() (n int) {
	for _, v := range p.adapted.Params() {
		n += v.Size()
	}
	return n
}

// disk is how many bytes the tokens of so many images take in the feature store.
func (p *Plan) disk(images int) int64 {
	if p.options.Augments() {
		return 0
	}
	return 2 * p.adapted.Tokens * p.adapted.Dim * int64(images) // as float16
}

func (p *Plan) onGPU() bool { return p.backbone.Session.Provider() == string(onnx.CUDA) }

// Dim is D of the embedding.
func (p *Plan) Dim() int { return p.backbone.Session.Dim() }

func (p *Plan) width() int { return int(p.adapted.Dim) }

// Tokens is the part of the backbone that stays as it is, to be closed by the caller. Its features are tokens.
func (p *Plan) Tokens(ev event.Events) (*backbone.Backbone, error) {
	b, err := p.backbone.With(p.frozen, fmt.Sprintf("tokens before block %d", p.adapted.First), ev)
	if err != nil {
		return nil, err
	}
	return b.KeepTokens(p.sum), nil
}

// Model starts the training: of a head, made of the features of data as it would be without, and of what is put into
// the backbone, whose tokens are those of the sets: of the samples of data, in that order, and of those held out, if
// any, of which the mean over their views is judged.
func (p *Plan) Model(data head.Data, s head.Settings, from Tokens, train, held Set) (*Model, error) {
	m := &Model{plan: p, tokens: from, train: train, held: held, rate: p.options.LR / s.WithDefaults().LR}
	var heldSource head.Source
	if held.IDs != nil {
		heldSource = heldOut{m}
	}
	var err error
	if m.Linear, err = head.NewLinear(data, s, source{m}, heldSource); err != nil {
		return nil, err
	}
	for _, v := range p.adapted.Params() {
		m.values = append(m.values, v.Start())
	}
	o := p.backbone.Beside().Session("")
	split := grad.Split
	if p.onGPU() { // computed twice sooner than copied to main memory and back
		split = grad.SplitTwice
	}
	forward, backward, err := split(p.step, seedInput)
	if err != nil {
		return nil, err
	}
	if m.step, err = onnx.NewGradientModel(forward, backward, seedInput, o); err != nil {
		return nil, err
	}
	kept, err := m.step.Kept(p.inputs(nil, m.values, p.options.Micro, p.kept))
	if err == nil {
		if p.options.Augments() {
			kept += 4 * int64(p.backbone.Preprocess.Size()) * int64(waiting(p.options.Micro)+p.options.Micro)
		}
		kept += perParameter * int64(p.Parameters())
		err = machine.Check(float64(kept), "adapt-blocks, micro-batch: training %d parameters inside the backbone, %d "+
			"images at a time,", p.Parameters(), p.options.Micro)
	}
	if err != nil {
		return nil, errors.Join(err, m.step.Close())
	}
	text, err := p.whole.Bytes()
	if err == nil {
		m.whole, err = onnx.NewSession(text, o)
	}
	if err != nil {
		return nil, errors.Join(err, m.step.Close())
	}
	return m, nil
}

// all are the numbers of all tokens.
func (p *Plan) all() []int {
	list := make([]int, p.adapted.Tokens)
	for i := range list {
		list[i] = i
	}
	return list
}

// draw draws the tokens that are kept, in their order.
func (p *Plan) draw(rng *rand.Rand) []int {
	n := int(p.adapted.Tokens)
	if p.kept == n {
		return p.all()
	}
	kept := p.all()[:p.always]
	for _, k := range rng.Perm(n - p.always)[:p.kept-p.always] {
		kept = append(kept, p.always+k)
	}
	slices.Sort(kept)
	return kept
}

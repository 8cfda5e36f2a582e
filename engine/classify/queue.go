package classify

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/internal/machine"
	"github.com/vitft/vitft/internal/vec"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/vision"
)

// queue runs a model on images that come from many goroutines, as many at a time as are there. While a batch runs the
// next one gathers, so under load nobody waits for company; otherwise an image waits for those that are being prepared,
// and no longer than delay.
type queue struct {
	model    *onnx.ImageModel
	size     int // of an image, in values
	labels   []string
	batch    int
	delay    time.Duration
	onBatch  func(images int, took time.Duration)
	requests chan *request

	places    chan struct{} // one for each image in memory
	decoders  chan struct{} // one for each image that is being prepared
	preparing atomic.Int64  // images on their way into requests
	ended     chan struct{}
}

// request is an image that is prepared and waits for its answer.
type request struct {
	ctx    context.Context
	pixels *[]float32
	since  time.Time
	done   chan Classified
}

var errNotFinite = fault.Data.Errorf("the model gives logits that are not finite for this image")

func newQueue(model *onnx.ImageModel, d artifact.Description, o Options) (*queue, error) {
	buffers := 2*o.MaxBatch + runtime.GOMAXPROCS(0)
	err := machine.Check(float64(buffers+o.MaxBatch)*4*float64(d.Size()),
		"batch: %d images of %d×%d pixels, and twice as many that wait,", o.MaxBatch, d.Preprocess.Width,
		d.Preprocess.Height)
	if err != nil {
		return nil, err
	}
	q := &queue{
		model: model, size: d.Size(), labels: d.Labels,
		batch: o.MaxBatch, delay: *o.MaxDelay, onBatch: o.OnBatch,
		requests: make(chan *request, buffers), places: make(chan struct{}, buffers),
		decoders: make(chan struct{}, runtime.GOMAXPROCS(0)), ended: make(chan struct{}),
	}
	go q.run()
	return q, nil
}

// close ends the queue once all requests are answered. submit must not be called any more.
func (q *queue) close() {
	close(q.requests)
	<-q.ended
}

// submit prepares an image and queues it.
func (q *queue) submit(ctx context.Context, prepare preparation) (*request, error) {
	q.preparing.Add(1)
	defer q.preparing.Add(-1) // after it is queued, so that it is never overlooked
	select {
	case q.places <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	queued := false
	defer func() {
		if !queued { // also when a decoder panics
			<-q.places
		}
	}()
	select {
	case q.decoders <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-q.decoders }()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	pixels := borrow(q.size)
	if err := prepare(ctx, *pixels); err != nil {
		giveBack(pixels)
		return nil, err
	}
	r := &request{ctx: ctx, pixels: pixels, since: time.Now(), done: make(chan Classified, 1)}
	queued = true
	q.requests <- r // has room for all places
	return r, nil
}

// wait returns the answer, or the context's error as soon as it ends.
func (r *request) wait() (Prediction, error) {
	select {
	case c := <-r.done:
		return c.Prediction, c.Err
	case <-r.ctx.Done():
		return Prediction{}, r.ctx.Err()
	}
}

// run answers batch after batch until the queue is closed.
func (q *queue) run() {
	defer close(q.ended)
	var outputs [][]float32
	for _, v := range q.model.Outputs() {
		outputs = append(outputs, make([]float32, q.batch*int(v.Shape[1])))
	}
	batch := make([]*request, 0, q.batch)
	for first := range q.requests {
		batch = q.gather(append(batch[:0], first))
		pixels := borrow(q.batch * q.size)
		if batch = q.take(batch, *pixels); len(batch) > 0 {
			q.answer(batch, *pixels, outputs)
		}
		giveBack(pixels)
	}
}

// gather adds requests to the first one until the batch is full, its time is up, or no others are on their way.
func (q *queue) gather(batch []*request) []*request {
	var timeout <-chan time.Time
	for len(batch) < q.batch {
		var r *request
		var open bool
		select {
		case r, open = <-q.requests:
		default:
			left := q.delay - time.Since(batch[0].since)
			if left <= 0 || q.preparing.Load() == 0 {
				return batch
			}
			if timeout == nil {
				timeout = time.After(left)
			}
			select {
			case r, open = <-q.requests:
			case <-timeout:
			}
		}
		if !open { // closed, or its time is up
			return batch
		}
		batch = append(batch, r)
	}
	return batch
}

// take copies the images that are still wanted together and frees their places.
func (q *queue) take(batch []*request, pixels []float32) []*request {
	wanted := batch[:0]
	for _, r := range batch {
		if r.ctx.Err() == nil {
			copy(pixels[len(wanted)*q.size:], *r.pixels)
			wanted = append(wanted, r)
		}
		giveBack(r.pixels)
		r.pixels = nil
		<-q.places
	}
	return wanted
}

func (q *queue) answer(batch []*request, pixels []float32, outputs [][]float32) {
	// A batch is run to its end, whoever gives up meanwhile: it belongs to all.
	begin := time.Now()
	err := q.model.Run(context.Background(), pixels, len(batch), outputs...)
	if q.onBatch != nil {
		q.onBatch(len(batch), time.Since(begin))
	}
	outs := q.model.Outputs()
	for i, r := range batch {
		if err != nil {
			r.done <- Classified{Err: err}
			continue
		}
		rows := map[string][]float32{}
		for k, v := range outs {
			w := int(v.Shape[1])
			rows[v.Name] = slices.Clone(outputs[k][i*w : (i+1)*w])
		}
		p := Prediction{
			Probabilities: rows[vision.Probabilities], Logits: rows[vision.Logits], Embedding: rows[vision.Embedding],
			labels: q.labels,
		}
		if vec.NotFinite(p.Logits) >= 0 {
			r.done <- Classified{Err: errNotFinite}
			continue
		}
		p.Class = vec.Argmax(p.Logits) // of the logits: probabilities that differ in the last bit may tie
		p.Label, p.Confidence = q.labels[p.Class], p.Probabilities[p.Class]
		r.done <- Classified{Prediction: p}
	}
}

// spare has memory for pixels that nobody uses, a *sync.Pool for each length: many Classifiers that are busy in turn
// take no more of it than one.
var spare sync.Map

func borrow(length int) *[]float32 {
	pool, _ := spare.LoadOrStore(length, &sync.Pool{New: func() any {
		pixels := make([]float32, length)
		return &pixels
	}})
	return pool.(*sync.Pool).Get().(*[]float32)
}

// giveBack takes back what borrow gave.
func giveBack(pixels *[]float32) {
	pool, _ := spare.Load(len(*pixels))
	pool.(*sync.Pool).Put(pixels)
}

package work

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/engine/setting"
)

// WorkerOptions are the settings of a worker.
type WorkerOptions struct {
	Queue    Queue
	Features feature.Options // Cache: where jobs and features are; a worker does no others
	Device   device.Options
	Read     string        // folders and buckets that images may be read from, with commas between; any folder
	Idle     time.Duration // end after so long without a task; 0: never
	Metrics  string        // HOST:PORT on which Prometheus finds them; nowhere
}

// Fields declares the settings.
func (o *WorkerOptions) Fields() []setting.Field {
	return slices.Concat(o.Queue.Fields(), o.Features.Fields(), o.Device.Fields(), setting.In("queue",
		setting.Text("read", &o.Read, "", nil, "folders and buckets that images may be read from, with commas "+
			"between; tasks with others are refused (default: any folder, no bucket)").Here(),
		setting.Number("idle", &o.Idle, 0, setting.Between(time.Second, 24*time.Hour).Or(0, "go on"),
			"end after so long without a task, such as 10m (0s: go on)").Here(),
		setting.Text("metrics", &o.Metrics, "", checkAddress, "HOST:PORT on which /metrics, /healthz and /readyz are "+
			"answered (default: nowhere)").Here(),
	))
}

// Serve does tasks until ctx ends, any number of any job of the bucket. What is encoded by then is published, a task
// that is not goes back to the queue at once. While the queue cannot be reached it waits.
func Serve(ctx context.Context, o WorkerOptions, ev event.Events) error {
	if err := setting.Complete(o.Fields()); err != nil {
		return err
	}
	if o.Queue.URL == "" || o.Queue.URL == Embedded {
		return fault.Config.Errorf("queue: name the queue that the tasks are on: nats://HOST:PORT")
	}
	for at := range strings.SplitSeq(o.Read, ",") { // which makes their buckets known
		if _, err := place.Named(strings.TrimSpace(at)); err != nil {
			return fmt.Errorf("read: %w", err)
		}
	}
	jobs, identity, err := openJobs(ctx, o.Features)
	if err != nil {
		return err
	}
	defer jobs.Close()
	c, err := o.Queue.open(ctx, identity, ev)
	if err != nil {
		return err
	}
	defer c.close()
	w := newWorker(o, jobBucket{jobs}, c, oneByOne(ev))
	defer w.close()
	if o.Metrics != "" {
		stop, err := w.serveMetrics(ctx, o.Metrics)
		if err != nil {
			return err
		}
		defer stop()
	}
	w.events.Info("worker", "name", w.name, "queue", o.Queue.URL, "jobs", jobs.Where(""))
	return w.run(ctx)
}

func checkAddress(text string) error {
	if text == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(text); err != nil {
		return fmt.Errorf("%q: write HOST:PORT, such as localhost:9090, or :9090 for every network", text)
	}
	return nil
}

// worker does tasks with two hands. While one reads the images of a task the other encodes the last of those before,
// and publishes that task. Then it waits for its turn to take one. So each has one task at most.
type worker struct {
	WorkerOptions
	jobs   jobBucket
	queue  *connection
	name   string
	events event.Events

	presence *presence
	metrics  *metrics
	reached  atomic.Bool // the queue is

	turn     sync.Mutex // of the hand that waits for a task, or has just taken one
	consumer jetstream.Consumer
	found    time.Time // it was made sure of
	away     bool      // the queue is, as was said

	inHand sync.RWMutex // read-locked for a task, locked for one that is done alone

	hash string // of the job that is open
	job  Job
	open *feature.Extractor
	lent bool // by who submitted the job, and closes it
	of   *backbone.Backbone
	held io.Closer // the job's folder, so that it is not pruned

	mu      sync.Mutex       // of what follows
	inWork  int              // tasks
	last    time.Time        // something was done
	failing []string         // what has failed since a task did not: tasks, or a disk's tries
	unable  map[string]error // the jobs of which it can do no task, and why

	done func()      // is told of each task; may be nil
	died map[int]int // by task, how many processes that have submitted the job; nil: it is another's
}

func newWorker(o WorkerOptions, jobs jobBucket, c *connection, ev event.Events) *worker {
	name := workerName()
	w := &worker{WorkerOptions: o, jobs: jobs, queue: c, name: name, events: ev, presence: newPresence(name),
		last: time.Now(), unable: map[string]error{}}
	w.metrics = newMetrics(name, w.ready)
	return w
}

func workerName() string {
	host, _ := os.Hostname()
	return fmt.Sprintf("%s-%d", host, os.Getpid())
}

// lookUp is how often a worker without a task makes sure that stream and consumer are there.
const lookUp = 10 * time.Second

// run does tasks. When one hand ends, the other does.
func (w *worker) run(ctx context.Context) error {
	defer w.queue.shows(w.presence)()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 2)
	for range cap(ended) {
		go func() { ended <- w.hand(ctx) }()
	}
	err := <-ended
	stop()
	return cmp.Or(err, <-ended)
}

// hand takes and does tasks until ctx ends. An error ends the worker.
func (w *worker) hand(ctx context.Context) error {
	for ctx.Err() == nil {
		w.turn.Lock()
		pass := sync.OnceFunc(w.turn.Unlock)
		if w.idles() {
			pass()
			return w.useless()
		}
		message, err := w.next(ctx)
		if message != nil {
			err = w.take(ctx, message, pass)
		}
		pass()
		if err != nil {
			return err
		}
	}
	return nil
}

// next waits for a task for a moment, or for the queue. An error ends the worker.
func (w *worker) next(ctx context.Context) (message jetstream.Msg, err error) {
	if w.consumer == nil {
		w.consumer, err = w.queue.consumer(ctx)
		w.found = time.Now()
	}
	switch {
	case err == nil:
		if w.away {
			w.events.Info("the queue is back")
		}
		w.away = false
		w.reaches(true)
		message, err = w.fetch(ctx)
		if err != nil || message == nil && time.Since(w.found) > lookUp {
			w.consumer = nil
		}
	case ctx.Err() == nil:
		w.consumer = nil
		w.reaches(false)
		if refused := w.queue.refused(); refused != nil {
			return nil, refused
		}
		if !w.away {
			w.events.Warn("the queue cannot be reached; waiting for it", "reason", err)
		}
		w.away = true
		w.queue.elsewhere()
	}
	if err != nil && message == nil { // the queue is away, or was made anew
		rest(ctx, time.Second)
	}
	return message, nil
}

// fetch waits for a task for a moment; nil if none came. One that is on its way when ctx ends is waited for, unless the
// queue ends too: nobody else would get it before the queue's patience ends.
func (w *worker) fetch(ctx context.Context) (message jetstream.Msg, err error) {
	if w.queue.server == nil {
		var end func()
		ctx, end = longer(ctx, time.Second) // a busy machine takes its time
		defer end()
	}
	wait, stop := context.WithTimeout(ctx, 2*time.Second)
	defer stop()
	batch, err := w.consumer.Fetch(1, jetstream.FetchContext(wait))
	if err != nil {
		return nil, err
	}
	for message = range batch.Messages() {
	}
	if err = batch.Error(); wait.Err() != nil {
		err = nil // there was none
	}
	return message, err
}

// longer is a context that ends some time after another.
func longer(ctx context.Context, by time.Duration) (_ context.Context, stop func()) {
	long, cancel := context.WithCancel(context.WithoutCancel(ctx))
	unwatch := context.AfterFunc(ctx, func() { time.AfterFunc(by, cancel) })
	return long, func() { unwatch(); cancel() }
}

// idles says whether the worker has had nothing to do for too long.
func (w *worker) idles() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.Idle > 0 && w.inWork == 0 && time.Since(w.last) > w.Idle
}

// useless is why a worker that was given tasks has done none.
func (w *worker) useless() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.presence.self.Tasks > 0 {
		return nil
	}
	for _, err := range w.unable {
		return err
	}
	return nil
}

// begins says that a hand is at a task, until it ends.
func (w *worker) begins(d *Doing) (ends func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inWork++
	w.metrics.inFlight.Inc()
	w.presence.begins(d)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.inWork--
		w.metrics.inFlight.Dec()
		w.presence.ends(d)
		if w.unable[d.Job] == nil {
			w.last = time.Now()
		}
	}
}

// leaves says whether the worker leaves a job to others.
func (w *worker) leaves(hash string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.unable[hash] != nil
}

// cannot notes why the worker can do no task of a job, and says whether that is new.
func (w *worker) cannot(hash string, reason error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	known := w.unable[hash] != nil
	w.unable[hash] = reason
	return !known
}

// succeeds notes that a task has not failed.
func (w *worker) succeeds() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failing = nil
}

// fails notes what has failed, and says how much has since a task did not.
func (w *worker) fails(what string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Contains(w.failing, what) {
		w.failing = append(w.failing, what)
	}
	return len(w.failing)
}

func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

package work

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/feature/store"
	files "github.com/vitft/vitft/engine/place"
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

// Serve does tasks until ctx ends, any number of any job of the bucket. A task that is under way then goes back to the
// queue at once. While the queue cannot be reached it waits.
func Serve(ctx context.Context, o WorkerOptions, ev event.Events) error {
	if err := setting.Complete(o.Fields()); err != nil {
		return err
	}
	if o.Queue.URL == "" || o.Queue.URL == Embedded {
		return fault.Config.Errorf("queue: name the queue that the tasks are on: nats://HOST:PORT")
	}
	for at := range strings.SplitSeq(o.Read, ",") { // which makes their buckets known
		if _, err := files.Named(strings.TrimSpace(at)); err != nil {
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
	w := newWorker(o, place{jobs}, c, oneByOne(ev))
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

// worker does tasks, one at a time.
type worker struct {
	WorkerOptions
	place  place
	queue  *connection
	name   string
	events event.Events

	presence *presence
	metrics  *metrics
	reached  atomic.Bool // the queue is

	hash string // of the job that is open
	job  Job
	open *feature.Extractor
	lent bool // by who submitted the job, and closes it
	of   *backbone.Backbone
	held io.Closer // the job's folder, so that it is not pruned

	failing []string         // the tasks that have failed since one did not
	unable  map[string]error // the jobs of which it can do no task, and why

	done func() // is told of each task; may be nil
}

func newWorker(o WorkerOptions, p place, c *connection, ev event.Events) *worker {
	name := workerName()
	w := &worker{WorkerOptions: o, place: p, queue: c, name: name, events: ev, presence: newPresence(name),
		unable: map[string]error{}}
	w.metrics = newMetrics(name, w.ready)
	return w
}

func workerName() string {
	host, _ := os.Hostname()
	return fmt.Sprintf("%s-%d", host, os.Getpid())
}

// lookUp is how often a worker without a task makes sure that stream and consumer are there.
const lookUp = 10 * time.Second

// run fetches and does tasks.
func (w *worker) run(ctx context.Context) error {
	defer w.queue.shows(w.presence)()
	last, away := time.Now(), false
	var consumer jetstream.Consumer
	var found time.Time
	for ctx.Err() == nil {
		var err error
		if consumer == nil {
			consumer, err = w.queue.consumer(ctx)
			found = time.Now()
		}
		switch {
		case err == nil:
			if away {
				w.events.Info("the queue is back")
			}
			away = false
			w.reaches(true)
			var did, came bool
			if did, came, err = w.fetch(ctx, consumer); did {
				last = time.Now()
			}
			if ended, is := errors.AsType[endedError](err); is {
				return ended.error
			}
			if err != nil || !came && time.Since(found) > lookUp {
				consumer = nil
			}
		case ctx.Err() == nil:
			w.reaches(false)
			if refused := w.queue.refused(); refused != nil {
				return refused
			}
			if !away {
				w.events.Warn("the queue cannot be reached; waiting for it", "reason", err)
			}
			away = true
			w.queue.elsewhere()
		}
		if w.Idle > 0 && time.Since(last) > w.Idle {
			return w.useless()
		}
		if err != nil { // the queue is away, or was made anew
			rest(ctx, time.Second)
		}
	}
	return nil
}

// endedError ends a worker.
type endedError struct{ error }

// fetch waits for a task for a moment, and does it.
func (w *worker) fetch(ctx context.Context, from jetstream.Consumer) (did, came bool, err error) {
	wait, stop := context.WithTimeout(ctx, 2*time.Second)
	defer stop()
	batch, err := from.Fetch(1, jetstream.FetchContext(wait))
	if err != nil {
		return false, false, err
	}
	for message := range batch.Messages() {
		came = true
		if did, err = w.take(ctx, message); err != nil {
			return did, came, endedError{err}
		}
	}
	if err = batch.Error(); wait.Err() != nil {
		err = nil // there was none
	}
	return did, came, err
}

// useless is why a worker that was given tasks has done none.
func (w *worker) useless() error {
	if w.presence.self.Tasks > 0 {
		return nil
	}
	for _, err := range w.unable {
		return err
	}
	return nil
}

func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// unwell is how many tasks in a row fail before a worker takes it that the fault is its own.
const unwell = 3

// take does a task, or gives it back; did says that it was one for this worker. An error ends the worker.
func (w *worker) take(ctx context.Context, message jetstream.Msg) (did bool, err error) {
	hash, task, submission, err := parseTask(string(message.Data()))
	if err != nil {
		w.events.Warn("what is on the queue is no task", "reason", err)
		_ = message.Term()
		return false, nil
	}
	if w.unable[hash] != nil {
		rest(ctx, time.Second) // else nobody else would get a word in
		w.giveBack(message)
		return false, nil
	}
	delivered := uint64(1)
	if m, err := message.Metadata(); err == nil {
		delivered = m.NumDelivered
	}
	if delivered > 1 {
		w.metrics.redelivered.Inc()
	}
	w.metrics.inFlight.Set(1)
	defer w.metrics.inFlight.Set(0)
	w.presence.begins(&Doing{Job: hash, Task: task, Since: time.Now().UTC()})
	defer w.presence.begins(nil)
	stop := w.beat(ctx, message)
	defer stop()
	if delivered > tries && delivered > w.patient(ctx, hash, task) {
		w.fail(ctx, hash, submission, task, delivered, "it was given out too often: workers that have it are killed, "+
			"or their memory is too small")
		_ = message.Term()
		return true, nil
	}
	w.events.Routine("task started", "job", hash, "task", task, "try", delivered)
	err = w.do(ctx, hash, task, delivered)
	_, ill := errors.AsType[illError](err)
	_, unable := errors.AsType[unableError](err)
	_, unseen := errors.AsType[unseenError](err)
	_, broken := errors.AsType[*store.NotFiniteError](err)
	_, large := errors.AsType[*store.TooLargeError](err)
	_, final := errors.AsType[finalError](err)
	switch {
	case err == nil:
		w.failing = nil
		acknowledge(message)
		return true, nil
	case ctx.Err() != nil:
		w.giveBack(message)
		return true, nil
	case ill:
		w.giveBack(message)
		return true, err
	case unable:
		w.unable[hash] = err
		w.events.Warn("this worker can do no task of a job, and leaves it to others", "job", hash, "reason", err)
		w.giveBack(message)
		return false, nil
	case delivered >= tries || broken || large || final || fault.Of(err) == fault.Config:
		w.fail(ctx, hash, submission, task, delivered, err.Error())
		_ = message.Term()
		return true, nil
	case unseen:
		_ = message.Nak()
		return true, err
	}
	w.metrics.tasks.WithLabelValues(taskFailed).Inc()
	if fault.Of(err) == fault.Other {
		if !slices.Contains(w.failing, hash+strconv.Itoa(task)) {
			w.failing = append(w.failing, hash+strconv.Itoa(task))
		}
		if len(w.failing) == unwell {
			w.giveBack(message)
			return true, fmt.Errorf("%d tasks have failed one after the other: %w", unwell, err)
		}
	}
	w.events.Warn("task failed", "job", hash, "task", task, "try", delivered, "reason", err)
	_ = message.NakWithDelay(time.Duration(delivered) * time.Second)
	return true, nil
}

// Words about a message may get lost, with the queue or on the way there. That is no harm: after a while another worker
// gets it, and sees what is done. They are said also when the worker is told to stop.

// giveBack puts a task on the queue anew, for others: it is not at fault, so that this is not one of its tries.
func (w *worker) giveBack(message jetstream.Msg) {
	w.metrics.tasks.WithLabelValues(taskGivenBack).Inc()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := w.queue.stream.Publish(ctx, message.Subject(), message.Data()); err != nil {
		_ = message.Nak()
	} else {
		_ = message.DoubleAck(ctx)
	}
}

// acknowledge takes a task off the queue.
func acknowledge(message jetstream.Msg) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = message.DoubleAck(ctx)
}

// beat keeps a task with this worker until it is stopped.
func (w *worker) beat(ctx context.Context, message jetstream.Msg) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(w.queue.patience / 3):
				if message.InProgress() == nil {
					w.metrics.beat()
				}
			}
		}
	}()
	return cancel
}

// unableError says that this worker can do none of a job's tasks.
type unableError struct{ error }

func (e unableError) Unwrap() error { return e.error }

// illError says that this worker cannot work now, whichever the task: a disk is full, or the bucket does not answer.
type illError struct{ error }

func (e illError) Unwrap() error { return e.error }

// do encodes the images of a task and leaves its record, unless that is there.
func (w *worker) do(ctx context.Context, hash string, task int, delivered uint64) error {
	if err := w.prepare(ctx, hash); err != nil {
		if fault.Of(err) == fault.Other {
			err = illError{err}
		}
		return err
	}
	images, err := w.place.list(ctx, hash, w.job, task)
	if err != nil {
		return err
	}
	done, err := w.place.finished(ctx, hash, w.job, w.open, map[int]int{task: len(images)})
	if _, is := done[task]; is || err != nil {
		if is {
			w.metrics.tasks.WithLabelValues(taskFound).Inc()
		}
		return err
	}
	paths := make([]string, len(images))
	for i, im := range images {
		paths[i] = im.Path
		if err := w.refusal(im.Path); err != nil {
			return err
		}
	}
	begun := time.Now()
	set, err := dataset.Files(hash, paths, func(i int) fs.FileInfo { return images[i].info() })
	if err != nil {
		return err
	}
	if err := within(images); err != nil {
		return err
	}
	before, err := compare(set, images)
	if err != nil {
		return err
	}
	var killers []int
	if delivered >= suspect {
		if killers, err = w.search(ctx, hash, task, set); err != nil {
			return err
		}
	}
	b, err := w.encode(ctx, block(hash, task), without(set, killers))
	if err != nil {
		return err
	}
	after, err := compare(set, images)
	if err != nil {
		return err
	}
	record := Record{Worker: w.name, At: time.Now().UTC(), Images: make([]Done, len(images))}
	for i, k := 0, 0; i < len(images); i++ {
		if slices.Contains(killers, i) {
			record.Images[i] = Done{Fault: killed, Kills: true}
			continue
		}
		record.Images[i] = outcome(b.IDs[k], b.Faults[k], before[i] && after[i])
		k++
	}
	record.Seconds = time.Since(begun).Seconds()
	published := time.Now()
	if err := w.place.publish(ctx, object(hash, records, task), encoded(record)); err != nil {
		return err
	}
	w.metrics.block(b, record, time.Since(published))
	w.metrics.tasks.WithLabelValues(taskDone).Inc()
	w.presence.did(record)
	if w.done != nil {
		w.done()
	}
	record.tell(w.events, hash, task, images)
	return nil
}

// killed is the fault of an image that search has found.
const killed = "whoever reads it dies: a worker did twice, with nothing else to do"

// encode makes a block of a task of the open job.
func (w *worker) encode(ctx context.Context, name string, set *dataset.Dataset) (*feature.Block, error) {
	if beforeEncoding != nil {
		beforeEncoding(set)
	}
	return w.open.EncodeBlock(ctx, name, set, len(w.job.Keys))
}

// beforeEncoding is for tests, where some images end the process.
var beforeEncoding func(*dataset.Dataset)

// fail records that a task is given up.
func (w *worker) fail(ctx context.Context, hash, submission string, task int, delivered uint64, reason string) {
	w.metrics.tasks.WithLabelValues(taskGivenUp).Inc()
	w.events.Warn("task given up", "job", hash, "task", task, "try", delivered, "reason", reason)
	f := Failure{Task: task, Tries: int(delivered), Worker: w.name, Reason: reason}
	if err := w.place.publish(ctx, object(hash, failures+"/"+submission, task), encoded(f)); err != nil {
		w.events.Warn("that cannot be recorded", "reason", err)
	}
}

// taskPattern is what a message says: job, number and submission.
var taskPattern = regexp.MustCompile(`^([0-9a-f]{16}) ([0-9]{1,9}) ([A-Z2-7]{26})$`)

func taskMessage(hash string, task int, submission string) []byte {
	return fmt.Appendf(nil, "%s %d %s", hash, task, submission)
}

func parseTask(text string) (hash string, task int, submission string, err error) {
	parts := taskPattern.FindStringSubmatch(text)
	if parts == nil {
		return "", 0, "", fmt.Errorf("%.60q", text)
	}
	task, err = strconv.Atoi(parts[2])
	return parts[1], task, parts[3], err
}

package work

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/feature/store"
	"github.com/vitft/vitft/internal/disk"
)

// unwell is how many tasks in a row fail, or tries for the sake of a disk, before a worker takes it that the fault is
// its own.
const unwell = 3

// take does a task, or gives it back. It passes the turn on as soon as the other hand may take one. An error ends the
// worker.
func (w *worker) take(ctx context.Context, message jetstream.Msg, pass func()) error {
	hash, task, submission, err := parseTask(string(message.Data()))
	if err != nil {
		w.events.Warn("what is on the queue is no task", "reason", err)
		_ = message.Term()
		return nil
	}
	if w.leaves(hash) {
		rest(ctx, time.Second) // else nobody else would get a word in
		w.giveBack(message)
		return nil
	}
	delivered := uint64(1)
	if m, err := message.Metadata(); err == nil {
		delivered = m.NumDelivered
	}
	if delivered > 1 {
		w.metrics.redelivered.Inc()
	}
	defer w.begins(&Doing{Job: hash, Task: task, Since: time.Now().UTC()})()
	stop := w.beat(message)
	defer stop()
	if hash == w.hash {
		delivered += uint64(w.died[task])
	}
	if delivered > 1 || hash != w.hash { // whoever had it may have died of it: not with another task in the other hand
		pass = func() {}
		w.inHand.Lock()
		defer w.inHand.Unlock()
	} else {
		w.inHand.RLock()
		defer w.inHand.RUnlock()
	}
	done, lets := false, w.holds(ctx, hash, task)
	defer func() { lets(done) }()
	if delivered > tries && delivered > w.patient(ctx, hash, task) {
		return w.fail(ctx, message, hash, submission, Failure{Task: task, Tries: int(delivered),
			Reason: "it was given out too often: workers that have it are killed, or their memory is too small"})
	}
	w.events.Routine("task started", "job", hash, "task", task, "try", delivered)
	err = w.do(ctx, hash, task, delivered, pass)
	_, ill := errors.AsType[illError](err)
	_, unable := errors.AsType[unableError](err)
	_, unseen := errors.AsType[unseenError](err)
	_, broken := errors.AsType[*store.NotFiniteError](err)
	_, large := errors.AsType[*store.TooLargeError](err)
	_, final := errors.AsType[finalError](err)
	switch {
	case err == nil:
		done = true
		w.succeeds()
		acknowledge(message)
		return nil
	case ctx.Err() != nil:
		w.giveBack(message)
		return nil
	case ill:
		w.giveBack(message)
		return err
	case unable:
		if w.cannot(hash, err) {
			w.events.Warn("this worker can do no task of a job, and leaves it to others", "job", hash, "reason", err)
		}
		w.giveBack(message)
		return nil
	case delivered >= tries || broken || large || final || fault.Of(err) == fault.Config:
		return w.fail(ctx, message, hash, submission, Failure{Task: task, Tries: int(delivered), Reason: err.Error()})
	case unseen:
		_ = message.Nak()
		return err
	}
	w.metrics.tasks.WithLabelValues(taskFailed).Inc()
	what := fmt.Sprint(hash, task)
	if disk.Ails(err) { // whichever the task
		what += fmt.Sprint(" for the disk, try ", delivered)
	}
	if fault.Of(err) == fault.Other && w.fails(what) == unwell {
		w.giveBack(message)
		return fmt.Errorf("%d tries have failed one after the other: %w", unwell, err)
	}
	w.events.Warn("task failed", "job", hash, "task", task, "try", delivered, "reason", err)
	_ = message.NakWithDelay(time.Duration(delivered) * time.Second)
	return nil
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
func (w *worker) beat(message jetstream.Msg) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
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

// stopping is for how long a worker that is told to stop goes on with publishing what it has encoded.
const stopping = 10 * time.Second

// do encodes the images of a task and leaves its record, unless that is there. It calls read when the images have been
// read.
func (w *worker) do(ctx context.Context, hash string, task int, delivered uint64, read func()) error {
	if err := w.prepare(ctx, hash); err != nil {
		if fault.Of(err) == fault.Other {
			err = illError{err}
		}
		return err
	}
	images, err := w.jobs.list(ctx, hash, w.job, task)
	if err != nil {
		return err
	}
	done, err := w.jobs.finished(ctx, hash, w.job, w.open, map[int]int{task: len(images)})
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
	b, killers, err := w.encode(ctx, hash, task, delivered, set, read)
	if err != nil {
		return err
	}
	after, err := compare(set, images)
	if err != nil {
		return err
	}
	record := Record{Worker: w.name, At: time.Now().UTC(), Seconds: b.Encoding.Seconds(),
		Images: make([]Done, len(images))}
	for i, k := 0, 0; i < len(images); i++ {
		if slices.Contains(killers, i) {
			record.Images[i] = Done{Fault: killed, Kills: true}
			continue
		}
		record.Images[i] = outcome(b.IDs[k], b.Faults[k], before[i] && after[i])
		k++
	}
	ctx, stop := longer(ctx, stopping)
	defer stop()
	published := time.Now()
	if err := w.open.PublishBlock(ctx, block(hash, task), b); err != nil {
		return err
	}
	if err := w.jobs.publish(ctx, object(hash, records, task), encoded(record)); err != nil {
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

// encode makes a block of a task of the open job; killers are images that it leaves out, as they would end the worker.
func (w *worker) encode(ctx context.Context, hash string, task int, delivered uint64, set *dataset.Dataset,
	read func()) (b *feature.Block, killers []int, err error) {
	if delivered >= suspect {
		if killers, err = w.search(ctx, hash, task, set); err != nil {
			return nil, nil, err
		}
	}
	b, err = w.try(ctx, without(set, killers), read)
	return b, killers, err
}

// try encodes images.
func (w *worker) try(ctx context.Context, set *dataset.Dataset, read func()) (*feature.Block, error) {
	if beforeEncoding != nil {
		beforeEncoding(set)
	}
	return w.open.EncodeBlock(ctx, set, len(w.job.Keys), read)
}

// beforeEncoding is for tests, where some images end the process.
var beforeEncoding func(*dataset.Dataset)

// fail records that a task is given up. Where that cannot be recorded it is not, as nobody would know: the worker ends.
func (w *worker) fail(ctx context.Context, message jetstream.Msg, hash, submission string, f Failure) error {
	f.Worker = w.name
	err := w.jobs.publish(ctx, object(hash, failures+"/"+submission, f.Task), encoded(f))
	switch {
	case err == nil:
		w.metrics.tasks.WithLabelValues(taskGivenUp).Inc()
		w.events.Warn("task given up", "job", hash, "task", f.Task, "try", f.Tries, "reason", f.Reason)
		_ = message.Term()
		return nil
	case ctx.Err() != nil:
		err = nil
	default:
		err = fmt.Errorf("task %d fails (%s), which cannot be recorded: %w", f.Task, f.Reason, err)
	}
	w.giveBack(message)
	return err
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

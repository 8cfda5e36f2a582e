package work

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/onnx"
)

// Submission is what is to be encoded.
type Submission struct {
	Images   *dataset.Sets
	Backbone *backbone.Backbone
	Features *feature.Extractor
	Views    int

	TaskImages int  // in a task at most; 512
	AnyLibrary bool // workers may have another version of the runtime library than this process
}

// Submit submits one job on a queue that it opens for it.
func Submit(ctx context.Context, s Submission, q Queue, ev event.Events) error {
	open, err := Open(ctx, q, s.Features.Options(), ev)
	if err != nil {
		return err
	}
	defer open.Close()
	return open.Submit(ctx, s)
}

// Submitter submits jobs whose features are kept in one place, one after the other, on a queue that stays open for them
// and their workers.
type Submitter struct {
	url    Queue
	queue  *connection
	jobs   bucket.Closing
	events event.Events
}

// Open opens a queue for jobs whose features are kept where the options say.
func Open(ctx context.Context, q Queue, o feature.Options, ev event.Events) (*Submitter, error) {
	if err := setting.Complete(q.Fields()); err != nil {
		return nil, err
	}
	if q.URL == "" {
		return nil, fault.Config.Errorf("queue: name one: %s, serve:HOST:PORT or nats://HOST:PORT", Embedded)
	}
	jobs, identity, err := openJobs(ctx, o)
	if err != nil {
		return nil, err
	}
	s := &Submitter{url: q, jobs: jobs, events: oneByOne(ev)}
	if s.queue, err = q.open(ctx, identity, s.events); err != nil {
		return nil, errors.Join(err, jobs.Close())
	}
	return s, nil
}

// Close closes the queue.
func (q *Submitter) Close() {
	q.queue.close()
	_ = q.jobs.Close()
}

// Submit freezes the images as a job, puts its tasks on the queue and waits until all are done; what is done already
// is not done again. If the queue is in this process it does tasks too. Then the stores hold all features, as Ensure
// would have left them, and the scan index knows the images.
func (q *Submitter) Submit(ctx context.Context, s Submission) error {
	s.TaskImages = cmp.Or(s.TaskImages, 512)
	jobs, ev := q.jobs, q.events
	b := &submission{Submission: s, jobs: jobBucket{jobs}, queue: q.queue, events: ev, name: rand.Text(),
		records: map[int]Record{}, told: map[int]bool{}, woken: make(chan struct{}, 1), since: time.Now()}
	if err := b.freeze(); err != nil {
		return err
	}
	if _, err := b.publish(ctx); err != nil {
		return err
	}
	if err := b.announce(ctx); err != nil {
		return err
	}
	if held := b.jobs.hold(ctx, b.hash); held != nil {
		defer held.Close()
	}
	died, err := b.jobs.deaths(ctx, b.hash)
	if err != nil {
		return err
	}
	ev.Info("job submitted", "job", b.hash, "images", b.job.Images, "tasks", len(b.job.Tasks), "at",
		jobs.Where(b.hash), "features", b.job.Keys[0].Feature)
	workers, unwatch := b.queue.watches(ev)
	b.workers = workers
	defer unwatch()

	work, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	worked := make(chan struct{})
	if b.queue.server != nil {
		own := newWorker(WorkerOptions{Queue: q.url, Features: s.Features.Options()}, b.jobs, b.queue, ev)
		own.hash, own.job, own.open, own.of, own.lent = b.hash, b.job, s.Features, s.Backbone, true
		own.done, own.died, b.own = b.wake, died, own.name
		go func() {
			defer close(worked)
			defer own.close()
			if err := own.run(work); err != nil && work.Err() == nil {
				stop(err) // without it nobody may be there to work
			}
		}()
	} else {
		close(worked)
	}
	err = b.watch(work)
	if cause := context.Cause(work); cause != nil && ctx.Err() == nil {
		err = cause
	}
	stop(nil)
	<-worked
	if err == nil {
		b.jobs.forgets(ctx, b.hash)
	}
	return err
}

// oneByOne are events for several goroutines.
func oneByOne(ev event.Events) event.Events {
	var mu sync.Mutex
	return event.Events{
		Note: func(level event.Level, message string, kv ...any) {
			mu.Lock()
			defer mu.Unlock()
			if ev.Note != nil {
				ev.Note(level, message, kv...)
			}
		},
		Progress: func(stage event.Stage, what string, done, total int) {
			mu.Lock()
			defer mu.Unlock()
			ev.Report(stage, what, done, total)
		},
		Detail: func(kv ...any) {
			mu.Lock()
			defer mu.Unlock()
			ev.Beside(kv...)
		},
	}
}

// submission is a job on its way.
type submission struct {
	Submission
	jobs   jobBucket
	queue  *connection
	events event.Events

	name    string // of this submission
	job     Job
	hash    string
	model   []byte           // of the job, until it is published
	lists   [][]Image        // of the tasks
	items   [][]dataset.Item // of each list
	records map[int]Record   // of the tasks that are done, without the images, which are a billion at worst
	images  int              // in them
	failed  map[int]Failure
	told    map[int]bool // of them
	round   int          // of queueing
	empty   bool         // the queue was, when the bucket was looked at last
	bad     int          // images that cannot be used
	workers *roll
	own     string // the name of the worker in this process
	looked  bool   // at what was done before

	woken chan struct{} // when the worker in this process has done a task
	since time.Time     // nothing more was done
	away  bool          // the queue is, as was said
}

// freeze makes the job.
func (s *submission) freeze() error {
	items, images, err := freeze(s.Images)
	if err != nil {
		return err
	}
	if s.model, err = s.Backbone.Standalone(); err != nil {
		return err
	}
	s.job = Job{Format: jobFormat, Keys: s.Features.Keys(s.Views), Model: sum(s.model),
		Preprocess: s.Backbone.Preprocess, Images: len(images)}
	if library, _ := onnx.Loaded(); !s.AnyLibrary {
		s.job.Library = library.Version
	}
	s.lists = cut(items, images, most(s.TaskImages, s.job.Keys))
	for _, list := range s.lists {
		s.job.Tasks = append(s.job.Tasks, sum(encoded(list)))
		s.items, items = append(s.items, items[:len(list)]), items[len(list):]
	}
	s.hash = s.job.Hash()
	return nil
}

// publish sees to it that what workers need is there: the model, the lists of the tasks, and then the job. It says
// whether something was not.
func (s *submission) publish(ctx context.Context) (put bool, err error) {
	model := s.model
	if s.model = nil; model == nil {
		if model, err = s.Backbone.Standalone(); err != nil {
			return false, err
		}
	}
	s.jobs.tidy(ctx, s.hash)
	there := map[string]bool{} // already
	for _, prefix := range []string{modelFolder + "/" + s.job.Model, s.hash + "/"} {
		names, err := s.jobs.List(ctx, prefix)
		if err != nil {
			return false, err
		}
		for _, name := range names {
			there[name] = true
		}
	}
	var was atomic.Bool
	keep := func(ctx context.Context, name string, content []byte) error {
		put, err := s.jobs.keep(ctx, name, content, there[name])
		if put {
			was.Store(true)
		}
		return err
	}
	if err := keep(ctx, modelFolder+"/"+s.job.Model, model); err != nil {
		return was.Load(), err
	}
	err = s.jobs.each(ctx, len(s.lists), func(ctx context.Context, task int) error {
		return keep(ctx, object(s.hash, lists, task), encoded(s.lists[task]))
	})
	if err == nil {
		err = keep(ctx, s.hash+"/"+jobObject, encoded(s.job))
	}
	return was.Load(), err
}

// again says whether tasks that were given up may be done after all, as parts of the job that were lost or damaged are
// there again.
func (s *submission) again(ctx context.Context) (bool, error) {
	if len(s.failed) == 0 {
		return false, nil
	}
	put, err := s.publish(ctx)
	if put && err == nil {
		s.events.Warn("parts of the job were missing or damaged and are put anew; tasks that were given up are queued "+
			"again", "tasks", len(s.failed))
		s.name = rand.Text() // what is recorded as given up was of another submission
		clear(s.told)
		err = s.announce(ctx)
	}
	return put, err
}

// submitted is when a job was submitted, and on which machine.
type submitted struct {
	At time.Time `json:"at"`
	By string    `json:"by"`
}

// announce records this submission, for who looks at the job.
func (s *submission) announce(ctx context.Context) error {
	host, _ := os.Hostname()
	return s.jobs.publish(ctx, s.hash+"/"+submissions+"/"+s.name+".json",
		encoded(submitted{At: time.Now().UTC(), By: host}))
}

// watch looks at the bucket until all tasks are done or given up, and queues again what the queue has lost.
func (s *submission) watch(ctx context.Context) error {
	pause := 100 * time.Millisecond
	for {
		begun := time.Now()
		if err := s.look(ctx); err != nil {
			return err
		}
		took := time.Since(begun)
		s.events.Beside("workers", s.workers.count(), "bad", s.bad)
		s.events.Report(event.Encode, "job "+s.hash, s.images, s.job.Images)
		if len(s.records)+len(s.failed) == len(s.job.Tasks) {
			if again, err := s.again(ctx); err != nil || !again {
				return cmp.Or(err, s.finish())
			}
			continue
		}
		if err := s.tend(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.woken:
		case <-s.workers.heard: // more often than this the bucket is not to be asked
			rest(ctx, max(500*time.Millisecond, 10*took))
		case <-time.After(pause):
			pause = min(2*pause, 5*time.Second)
		}
	}
}

// wake makes watch look now.
func (s *submission) wake() { wake(s.woken) }

// look reads the records that have come.
func (s *submission) look(ctx context.Context) error {
	wanted := map[int]int{}
	for task, list := range s.lists {
		if _, known := s.records[task]; !known {
			wanted[task] = len(list)
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	found, err := s.jobs.finished(ctx, s.hash, s.job, s.Features, wanted)
	if err != nil {
		return err
	}
	for task, r := range found {
		s.learn(task, r)
		s.images, s.bad = s.images+len(r.Images), s.bad+r.bad()
		if s.looked && r.Worker != s.own { // which has told that itself
			r.tell(s.events, s.hash, task, s.lists[task])
		}
		r.Images = nil
		s.records[task], s.since = r, time.Now()
	}
	if !s.looked && len(found) > 0 {
		s.events.Info("some tasks were done before", "job", s.hash, "tasks", len(found), "images", s.images)
	}
	s.looked = true
	names, err := s.jobs.List(ctx, s.hash+"/"+failures+"/"+s.name+"/")
	if err != nil {
		return err
	}
	s.failed = map[int]Failure{}
	for _, name := range names {
		task, is := number(name)
		if _, done := s.records[task]; done || !is || task >= len(s.lists) {
			continue
		}
		text, err := s.jobs.read(ctx, name)
		if err != nil {
			return err
		}
		f := Failure{Task: task, Reason: "its reason is damaged"}
		_ = json.Unmarshal(text, &f)
		if s.failed[task] = f; f.Worker != s.own && !s.told[task] {
			s.events.Warn("task given up", "job", s.hash, "task", task, "worker", f.Worker, "try", f.Tries,
				"reason", f.Reason)
		}
		s.told[task] = true
	}
	return nil
}

// tend queues what is missing, and says when nothing happens. An error is what waiting does not mend.
func (s *submission) tend(ctx context.Context) error {
	err := s.queueMissing(ctx)
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		if refused := s.queue.refused(); refused != nil {
			return refused
		}
		if !s.away {
			s.events.Warn("the queue cannot be reached; what workers have goes on", "reason", err)
		}
		s.away = true
		s.queue.elsewhere()
		return nil
	case s.away:
		s.away = false
		s.events.Info("the queue is back")
	}
	if time.Since(s.since) < 2*s.queue.patience {
		return nil
	}
	s.since = time.Now()
	missing := len(s.lists) - len(s.records) - len(s.failed)
	asking, busy := s.queue.workers(ctx)
	if asking+busy == 0 {
		s.events.Warn("no worker is there: start 'vitft worker' with this queue and this cache, here or elsewhere",
			"tasks to do", missing)
		return nil
	}
	s.events.Info("no task was finished lately", "tasks to do", missing, "given out", busy, "workers without one",
		asking)
	return nil
}

// queueMissing puts the tasks that are not done on the queue, if it has none of them: at first, and when stream or
// server were lost, once the bucket was looked at since, as a look may take so long that the last tasks are done
// meanwhile. A task that a worker still has is then done twice, which is no harm.
func (s *submission) queueMissing(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second+time.Duration(len(s.lists))*time.Millisecond)
	defer cancel()
	stream, err := s.queue.ready(ctx)
	if err != nil {
		return err
	}
	subject := s.queue.tasks + "." + s.hash
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(subject))
	if err != nil || info.State.Subjects[subject] > 0 {
		s.empty = false
		return err
	}
	if s.empty = !s.empty; s.empty && s.round > 0 {
		return nil
	}
	s.round++
	for task := range s.lists {
		if _, done := s.records[task]; done {
			continue
		}
		if _, failed := s.failed[task]; failed {
			continue
		}
		text := taskMessage(s.hash, task, s.name)
		id := fmt.Sprintf("%s %d", text, s.round)
		_, err := s.queue.stream.PublishAsync(subject, text, jetstream.WithMsgID(id),
			jetstream.WithStallWait(10*time.Second)) // a queue that writes to disks is slower than we are, not away
		if err != nil {
			return err
		}
	}
	select {
	case <-s.queue.stream.PublishAsyncComplete():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// learn tells the scan index what a worker has read.
func (s *submission) learn(task int, r Record) {
	index := s.Features.Options().Index
	for i, im := range s.lists[task] {
		d, of := r.Images[i], s.items[task][i]
		if d.Kills {
			s.Features.Refuse(of, fault.Data.Errorf("%s", d.Fault))
		}
		id, err := hex.DecodeString(d.ID)
		if d.Fault == "" && !d.Other && err == nil && len(id) == len(dataset.ID{}) {
			index.Learn(of, im.info(), dataset.ID(id))
		}
	}
}

// finish says which tasks were given up.
func (s *submission) finish() error {
	s.events.Info("job done", "job", s.hash, "tasks", len(s.records), "given_up", len(s.failed), "images", s.images,
		"bad", s.bad)
	if len(s.failed) > 0 {
		return fmt.Errorf("%d of %d tasks were given up: %s; mend that, then the same command goes on", len(s.failed),
			len(s.job.Tasks), s.reasons())
	}
	return nil
}

// reasons says why tasks were given up, of the first ones.
func (s *submission) reasons() string {
	var all []string
	for _, task := range slices.Sorted(maps.Keys(s.failed)) {
		if len(all) == 5 {
			all = append(all, fmt.Sprintf("and %d more, which 'vitft status' names", len(s.failed)-5))
			break
		}
		all = append(all, fmt.Sprintf("%d, by %s: %s", task, s.failed[task].Worker, s.failed[task].Reason))
	}
	return strings.Join(all, "; ")
}

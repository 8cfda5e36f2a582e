package work

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/setting"
)

// Submission is what is to be encoded.
type Submission struct {
	Images   *dataset.Sets
	Backbone *backbone.Backbone
	Features *feature.Extractor
	Views    int

	TaskImages int // in a task at most; 512
}

// Submit freezes the images as a job, puts its tasks on the queue and waits until all are done; what is done already
// is not done again. If the queue is in this process it does tasks too. Then the stores hold all features, as Ensure
// would have left them, and the scan index knows the images.
func Submit(ctx context.Context, s Submission, q Queue, ev event.Events) error {
	if err := setting.Complete(q.Fields()); err != nil {
		return err
	}
	if q.URL == "" {
		return fault.Config.Errorf("queue: name one: %s, serve:HOST:PORT or nats://HOST:PORT", Embedded)
	}
	s.TaskImages = cmp.Or(s.TaskImages, 512)
	jobs, identity, err := openJobs(ctx, s.Features.Options())
	if err != nil {
		return err
	}
	defer jobs.Close()
	ev = oneByOne(ev)
	b := &submission{Submission: s, place: place{jobs}, events: ev, name: rand.Text(),
		records: map[int]Record{}, woken: make(chan struct{}, 1), since: time.Now()}
	if err := b.freeze(ctx); err != nil {
		return err
	}
	if b.queue, err = q.open(ctx, identity, ev); err != nil {
		return err
	}
	defer b.queue.close()
	ev.Info("job", "hash", b.hash, "images", b.job.Images, "tasks", len(b.job.Tasks), "at", jobs.Where(b.hash))

	work, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	worked := make(chan struct{})
	if b.queue.server != nil {
		own := &worker{WorkerOptions: WorkerOptions{Queue: q, Features: s.Features.Options()}, place: b.place,
			queue: b.queue, name: workerName(), events: ev, hash: b.hash, job: b.job, open: s.Features, of: s.Backbone,
			lent: true, done: b.wake}
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
	}
}

// submission is a job on its way.
type submission struct {
	Submission
	place  place
	queue  *connection
	events event.Events

	name    string // of this submission
	job     Job
	hash    string
	items   []dataset.Item
	lists   [][]Image      // of items, in their order
	records map[int]Record // of the tasks that are done
	images  int            // in them
	failed  map[int]Failure
	round   int // of queueing

	woken chan struct{} // when the worker in this process has done a task
	since time.Time     // nothing more was done
	away  bool          // the queue is, as was said
}

// freeze publishes the job: its model, the lists of its tasks and then itself.
func (s *submission) freeze(ctx context.Context) error {
	items, images, err := freeze(s.Images)
	if err != nil {
		return err
	}
	s.items = items
	model, err := s.Backbone.Standalone()
	if err != nil {
		return err
	}
	s.lists = cut(items, images, min(s.TaskImages, max(1, featureBytes/(4*s.Features.Dim()))))
	s.job = Job{Format: jobFormat, Keys: s.Features.Keys(s.Views), Model: sum(model),
		Preprocess: s.Backbone.Preprocess, Images: len(images)}
	for _, list := range s.lists {
		s.job.Tasks = append(s.job.Tasks, sum(encoded(list)))
	}
	s.hash = s.job.Hash()
	for _, folder := range []string{modelFolder, s.hash, s.hash + "/" + lists, s.hash + "/" + records} {
		_, _ = s.place.Tidy(ctx, folder) // of what killed processes have left there
	}
	there := map[string]bool{} // already
	for _, prefix := range []string{modelFolder + "/" + s.job.Model, s.hash + "/"} {
		names, err := s.place.List(ctx, prefix)
		if err != nil {
			return err
		}
		for _, name := range names {
			there[name] = true
		}
	}
	keep := func(name string, content []byte) error { return s.place.keep(ctx, name, content, there[name]) }
	if err := keep(modelFolder+"/"+s.job.Model, model); err != nil {
		return err
	}
	for task, list := range s.lists {
		if err := keep(object(s.hash, lists, task), encoded(list)); err != nil {
			return err
		}
	}
	return keep(s.hash+"/"+jobObject, encoded(s.job))
}

// watch looks at the bucket until all tasks are done or given up, and queues again what the queue has lost.
func (s *submission) watch(ctx context.Context) error {
	pause := 100 * time.Millisecond
	for {
		if err := s.look(ctx); err != nil {
			return err
		}
		s.events.Report(event.Encode, "job "+s.hash, s.images, s.job.Images)
		if len(s.records)+len(s.failed) == len(s.job.Tasks) {
			return s.finish()
		}
		if err := s.tend(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.woken:
		case <-time.After(pause):
			pause = min(2*pause, 5*time.Second)
		}
	}
}

// wake makes watch look now.
func (s *submission) wake() {
	select {
	case s.woken <- struct{}{}:
	default: // it will
	}
}

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
	found, err := s.place.finished(ctx, s.hash, s.job, s.Features, wanted)
	if err != nil {
		return err
	}
	for task, r := range found {
		s.records[task], s.since = r, time.Now()
		s.images += len(r.Images)
	}
	names, err := s.place.List(ctx, s.hash+"/"+failures+"/"+s.name+"/")
	if err != nil {
		return err
	}
	s.failed = map[int]Failure{}
	for _, name := range names {
		task, is := number(name)
		if _, done := s.records[task]; done || !is || task >= len(s.lists) {
			continue
		}
		text, err := s.place.read(ctx, name)
		if err != nil {
			return err
		}
		f := Failure{Task: task, Reason: "its reason is damaged"}
		_ = json.Unmarshal(text, &f)
		s.failed[task] = f
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
// server were lost. A task that a worker still has is then done twice, which is no harm.
func (s *submission) queueMissing(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	stream, err := s.queue.ready(ctx)
	if err != nil {
		return err
	}
	subject := s.queue.tasks + "." + s.hash
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(subject))
	if err != nil || info.State.Subjects[subject] > 0 {
		return err
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
		if _, err := s.queue.stream.PublishAsync(subject, text, jetstream.WithMsgID(id)); err != nil {
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

// finish tells the scan index what the workers have read, and which tasks were given up.
func (s *submission) finish() error {
	items := s.items
	for task, list := range s.lists {
		r, of := s.records[task], items[:len(list)]
		if items = items[len(list):]; len(r.Images) == 0 {
			continue
		}
		for i, im := range list {
			d := r.Images[i]
			id, err := hex.DecodeString(d.ID)
			if d.Fault == "" && !d.Other && err == nil && len(id) == len(dataset.ID{}) {
				s.Features.Options().Index.Learn(of[i], im.info(), dataset.ID(id))
			}
		}
	}
	if len(s.failed) > 0 {
		for _, f := range s.failed {
			return fmt.Errorf("%d of %d tasks were given up; one is %d, by %s: %s; mend that, then the same command "+
				"goes on", len(s.failed), len(s.job.Tasks), f.Task, f.Worker, f.Reason)
		}
	}
	return nil
}

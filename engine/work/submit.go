package work

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
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
		records: map[int]Record{}, told: map[int]bool{}, woken: make(chan struct{}, 1), since: time.Now()}
	if err := b.freeze(ctx); err != nil {
		return err
	}
	if b.queue, err = q.open(ctx, identity, ev); err != nil {
		return err
	}
	defer b.queue.close()
	if held := b.place.hold(b.hash); held != nil {
		defer held.Close()
	}
	ev.Info("job submitted", "job", b.hash, "images", b.job.Images, "tasks", len(b.job.Tasks), "at", jobs.Where(b.hash))
	watched := func() {}
	b.workers, watched = b.queue.watches(ev)
	defer watched()

	work, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	worked := make(chan struct{})
	if b.queue.server != nil {
		own := newWorker(WorkerOptions{Queue: q, Features: s.Features.Options()}, b.place, b.queue, ev)
		own.hash, own.job, own.open, own.of, own.lent = b.hash, b.job, s.Features, s.Backbone, true
		own.done, b.own = b.wake, own.name
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
	told    map[int]bool // of them
	round   int          // of queueing
	bad     int          // images that cannot be used
	workers *roll
	own     string // the name of the worker in this process
	looked  bool   // at what was done before

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
	if err := keep(s.hash+"/"+jobObject, encoded(s.job)); err != nil {
		return err
	}
	host, _ := os.Hostname()
	return s.place.publish(ctx, s.hash+"/"+submissions+"/"+s.name+".json",
		encoded(submitted{At: time.Now().UTC(), By: host}))
}

// submitted is when a job was submitted, and on which machine.
type submitted struct {
	At time.Time `json:"at"`
	By string    `json:"by"`
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
			return s.finish()
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
	found, err := s.place.finished(ctx, s.hash, s.job, s.Features, wanted)
	if err != nil {
		return err
	}
	for task, r := range found {
		s.records[task], s.since = r, time.Now()
		s.images, s.bad = s.images+len(r.Images), s.bad+r.bad()
		if s.looked && r.Worker != s.own { // which has told that itself
			r.tell(s.events, s.hash, task, s.lists[task])
		}
	}
	if !s.looked && len(found) > 0 {
		s.events.Info("some tasks were done before", "job", s.hash, "tasks", len(found), "images", s.images)
	}
	s.looked = true
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
			if d.Kills {
				s.Features.Refuse(of[i], fault.Data.Errorf("%s", d.Fault))
			}
			id, err := hex.DecodeString(d.ID)
			if d.Fault == "" && !d.Other && err == nil && len(id) == len(dataset.ID{}) {
				s.Features.Options().Index.Learn(of[i], im.info(), dataset.ID(id))
			}
		}
	}
	s.events.Info("job done", "job", s.hash, "tasks", len(s.records), "given up", len(s.failed), "images", s.images,
		"bad", s.bad)
	if len(s.failed) > 0 {
		for _, f := range s.failed {
			return fmt.Errorf("%d of %d tasks were given up; one is %d, by %s: %s; mend that, then the same command "+
				"goes on", len(s.failed), len(s.job.Tasks), f.Task, f.Worker, f.Reason)
		}
	}
	return nil
}

package work

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
)

// Submission is what is to be encoded.
type Submission struct {
	Images   *dataset.Sets
	Backbone *backbone.Backbone
	Features *feature.Extractor
	Views    int

	TaskImages int // in a task at most
}

// Submit freezes the images as a job, puts its tasks on the queue and waits until all are done; what is done already
// is not done again. If the queue is in this process it does tasks too. Then the stores hold all features, as Ensure
// would have left them, and the scan index knows the images.
func Submit(ctx context.Context, s Submission, q Queue, ev event.Events) error {
	jobs, identity, err := openJobs(ctx, s.Features.Options())
	if err != nil {
		return err
	}
	defer jobs.Close()
	b := &submission{Submission: s, place: place{jobs}, events: ev, name: rand.Text(),
		records: map[int]Record{}}
	if err := b.freeze(ctx); err != nil {
		return err
	}
	if b.queue, err = q.open(ctx, identity, ev); err != nil {
		return err
	}
	defer b.queue.close()
	ev.Info("job", "hash", b.hash, "images", b.job.Images, "tasks", len(b.job.Tasks), "at", jobs.Where(b.hash))

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	worked := make(chan error, 1)
	if b.queue.server != nil {
		own := &worker{WorkerOptions: WorkerOptions{Queue: q, Features: s.Features.Options()}, place: b.place,
			queue: b.queue, name: workerName(), hash: b.hash, job: b.job, open: s.Features, of: s.Backbone, lent: true}
		go func() { worked <- own.run(ctx) }()
	} else {
		worked <- nil
	}
	err = b.watch(ctx)
	stop()
	return errors.Join(err, <-worked)
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
}

// freeze publishes the job: its model, the lists of its tasks and then itself.
func (s *submission) freeze(ctx context.Context) error {
	items, images := freeze(s.Images)
	s.items = items
	model, err := s.Backbone.Standalone()
	if err != nil {
		return err
	}
	s.lists = cut(items, images, s.TaskImages)
	s.job = Job{Format: jobFormat, Keys: s.Features.Keys(s.Views), Model: sum(model),
		Preprocess: s.Backbone.Preprocess, Images: len(images)}
	for _, list := range s.lists {
		s.job.Tasks = append(s.job.Tasks, sum(encoded(list)))
	}
	s.hash = s.job.Hash()
	if err := s.place.publish(ctx, modelFolder+"/"+s.job.Model, model); err != nil {
		return err
	}
	for task, list := range s.lists {
		if err := s.place.publish(ctx, object(s.hash, lists, task), encoded(list)); err != nil {
			return err
		}
	}
	return s.place.publish(ctx, s.hash+"/"+jobObject, encoded(s.job))
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
		if err := s.queueMissing(ctx); err != nil && ctx.Err() == nil {
			s.events.Warn("the queue cannot be reached; what workers have goes on", "reason", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
			pause = min(2*pause, 5*time.Second)
		}
	}
}

// look reads the records that have come.
func (s *submission) look(ctx context.Context) error {
	names, err := s.place.List(ctx, s.hash+"/"+records+"/")
	if err != nil {
		return err
	}
	for _, name := range names {
		task, is := number(name)
		if _, known := s.records[task]; known || !is || task >= len(s.lists) {
			continue
		}
		var r Record
		if err := s.place.decode(ctx, name, &r); err != nil {
			return err
		}
		if len(r.Images) != len(s.lists[task]) {
			return fault.Data.Errorf("%s is not the record of its task; remove it", s.place.Where(name))
		}
		s.records[task] = r
		s.images += len(r.Images)
	}
	if names, err = s.place.List(ctx, s.hash+"/"+failures+"/"+s.name+"/"); err != nil {
		return err
	}
	s.failed = map[int]Failure{}
	for _, name := range names {
		task, is := number(name)
		if _, done := s.records[task]; done || !is || task >= len(s.lists) {
			continue
		}
		var f Failure
		if err := s.place.decode(ctx, name, &f); err != nil {
			return err
		}
		s.failed[task] = f
	}
	return nil
}

func number(name string) (int, bool) {
	n, err := strconv.Atoi(strings.TrimSuffix(path.Base(name), ".json"))
	return n, err == nil && n >= 0
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
			id, err := hex.DecodeString(r.Images[i].ID)
			if r.Images[i].Fault == "" && err == nil && len(id) == len(dataset.ID{}) && im.Modified != 0 {
				s.Features.Options().Index.Learn(of[i], im.Size, im.Modified, dataset.ID(id))
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

package work

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/internal/par"
)

// StatusOptions say of what to read the status.
type StatusOptions struct {
	Queue    Queue           // none: only what is done is known, from the bucket
	Features feature.Options // Cache: where jobs are
	Job      string          // how the hash of the only job that is wanted begins; all
}

// Fields declares the settings.
func (o *StatusOptions) Fields() []setting.Field {
	cache, _ := setting.Find(o.Features.Fields(), "cache")
	queue := slices.DeleteFunc(o.Queue.Fields(), func(f setting.Field) bool { return f.Key == "queue-patience" })
	return slices.Concat(queue, []setting.Field{cache}, setting.In("queue",
		setting.Text("job", &o.Job, "", checkJob,
			"the one job that is wanted, or how its hash begins (default: all)").Here(),
	))
}

var jobPattern = regexp.MustCompile(`^[0-9a-f]{1,16}$`)

func checkJob(text string) error {
	if text != "" && !jobPattern.MatchString(text) {
		return fmt.Errorf("%q is no hash of a job: write up to 16 hexadecimal digits", text)
	}
	return nil
}

// Status is what jobs and workers of a bucket are at. Its JSON form is documented, and only grows.
type Status struct {
	Format  string       `json:"format"` // "vitft-status-1"
	At      time.Time    `json:"at"`
	Cache   string       `json:"cache"`
	Queue   *QueueStatus `json:"queue"` // null if none was named, or it was not reached
	Jobs    []JobStatus  `json:"jobs"`  // the one that was submitted last first
	Workers []Worker     `json:"workers"`
}

// QueueStatus is what is on the queue, of all jobs of the bucket.
type QueueStatus struct {
	URL         string `json:"url"`
	Waiting     int    `json:"waiting"`     // tasks that no worker has
	GivenOut    int    `json:"given_out"`   // tasks that one has, or had when it was lost
	Redelivered int    `json:"redelivered"` // of these, those that were given out before
}

// JobStatus is what a job is at.
type JobStatus struct {
	Job       string    `json:"job"`
	Where     string    `json:"where"`
	Fault     string    `json:"fault,omitempty"`    // why nothing more can be told
	Submitted time.Time `json:"submitted,omitzero"` // last
	By        string    `json:"by,omitempty"`       // the machine that did
	Last      time.Time `json:"last_done,omitzero"` // when the last task was
	Provider  string    `json:"provider"`
	Backbone  string    `json:"backbone"`
	Feature   string    `json:"feature"`          // what is made of the images, as keys of the feature store have it
	Stored    string    `json:"stored,omitempty"` // in what, where that is not float32
	Views     int       `json:"views"`

	Tasks  TaskCounts  `json:"tasks"`
	Images ImageCounts `json:"images"`

	Rate float64  `json:"images_per_second"` // of late; 0 if nobody works on it
	ETA  *float64 `json:"seconds_left"`      // null if that cannot be told

	Bad     []BadImage `json:"bad_images"` // the first ones, 100 at most
	GivenUp []Failure  `json:"given_up"`   // with reasons, since it was last submitted
}

// TaskCounts are the tasks of a job.
type TaskCounts struct {
	All     int  `json:"all"`
	Done    int  `json:"done"`
	InWork  *int `json:"in_work"` // as the workers say; null without a queue
	Waiting *int `json:"waiting"` // the rest; null without a queue
	GivenUp int  `json:"given_up"`
}

// ImageCounts are the images of a job.
type ImageCounts struct {
	All  int `json:"all"`
	Done int `json:"done"`
	Bad  int `json:"bad"`
}

// BadImage is an image that cannot be used.
type BadImage struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
}

const mostBad = 100

// lately is of how long the rate of a job is that is told from its records.
const lately = 10 * time.Minute

// ReadStatus looks at the bucket, and asks the queue if one is named. It changes nothing. The status is there beside an
// error that says why the queue could not be asked.
func ReadStatus(ctx context.Context, o StatusOptions) (*Status, error) {
	if err := setting.Complete(o.Fields()); err != nil {
		return nil, err
	}
	if o.Queue.URL == Embedded || strings.HasPrefix(o.Queue.URL, "serve:") {
		return nil, fault.Config.Errorf("queue: %s is opened by who submits; to ask it write nats://HOST:PORT, or "+
			"leave --queue out", o.Queue.URL)
	}
	b, err := bucketOf(ctx, o.Features)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	s := &Status{Format: "vitft-status-1", At: time.Now().UTC(), Cache: o.Features.Cache, Jobs: []JobStatus{},
		Workers: []Worker{}}
	p := place{b}
	names, err := p.List(ctx, o.Job)
	if err != nil {
		return nil, err
	}
	seen := map[string]Worker{} // by their records
	for hash, of := range byJob(names) {
		j, err := p.jobStatus(ctx, hash, of, seen)
		if err != nil {
			return nil, err
		}
		s.Jobs = append(s.Jobs, j)
	}
	if len(s.Jobs) == 0 && o.Job != "" {
		return nil, fault.Data.Errorf("job: none begins with %s in %s; 'vitft status' lists all", o.Job, b.Where(""))
	}
	slices.SortFunc(s.Jobs, func(a, b JobStatus) int {
		return cmp.Or(b.Submitted.Compare(a.Submitted), cmp.Compare(a.Job, b.Job))
	})
	if o.Queue.URL != "" {
		err = s.ask(ctx, p, o.Queue)
	}
	for name, w := range seen {
		if !slices.ContainsFunc(s.Workers, func(x Worker) bool { return x.Name == name }) {
			s.Workers = append(s.Workers, w)
		}
	}
	slices.SortFunc(s.Workers, func(a, b Worker) int { return cmp.Compare(a.Name, b.Name) })
	return s, err
}

// byJob sorts names of objects by their jobs.
func byJob(names []string) map[string][]string {
	jobs := map[string][]string{}
	for _, name := range names {
		hash, of, is := strings.Cut(name, "/")
		if is && len(hash) == 16 && jobPattern.MatchString(hash) {
			jobs[hash] = append(jobs[hash], of)
		}
	}
	maps.DeleteFunc(jobs, func(_ string, of []string) bool { return !slices.Contains(of, jobObject) })
	return jobs
}

// look reads an object as it is; what is damaged is not there for who only looks.
func look[T any](ctx context.Context, p place, name string) (v T, ok bool, err error) {
	text, err := p.read(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return v, false, nil
	}
	return v, err == nil && json.Unmarshal(text, &v) == nil, err
}

// jobStatus is what the bucket says of a job; workers whose records are in one that goes on are noted.
func (p place) jobStatus(ctx context.Context, hash string, names []string, workers map[string]Worker) (
	s JobStatus, err error) {
	s = JobStatus{Job: hash, Where: p.Where(hash), Bad: []BadImage{}, GivenUp: []Failure{}}
	job, ok, err := look[Job](ctx, p, hash+"/"+jobObject)
	if err != nil {
		return s, err
	}
	if !ok || job.Format != jobFormat || len(job.Keys) == 0 {
		s.Fault = jobObject + " is damaged, or of another version"
		return s, nil
	}
	key := job.Keys[0]
	s.Provider, s.Backbone, s.Feature, s.Stored, s.Views = key.Provider, key.Backbone, key.Feature, key.Stored,
		len(job.Keys)
	s.Tasks.All, s.Images.All = len(job.Tasks), job.Images
	var done []int
	failed := map[string][]int{} // by submission
	last := ""
	for _, name := range names {
		folder, rest, _ := strings.Cut(name, "/")
		task, is := number(name)
		switch folder {
		case records:
			if is && task < len(job.Tasks) {
				done = append(done, task)
			}
		case failures:
			if submission, _, in := strings.Cut(rest, "/"); in && is {
				failed[submission] = append(failed[submission], task)
			}
		case submissions:
			by, ok, err := look[submitted](ctx, p, hash+"/"+name)
			if err != nil {
				return s, err
			}
			if ok && by.At.After(s.Submitted) {
				s.Submitted, s.By, last = by.At, by.By, strings.TrimSuffix(rest, ".json")
			}
		}
	}
	found, faults := make([]Record, len(done)), make([]error, len(done))
	err = par.For(ctx, len(done), bucket.Together(p.Bucket), func(i int) {
		var ok bool
		if found[i], ok, faults[i] = look[Record](ctx, p, object(hash, records, done[i])); !ok {
			done[i] = -1
		}
	})
	if err = cmp.Or(err, errors.Join(faults...)); err != nil {
		return s, err
	}
	if err := s.count(ctx, p, job, done, found); err != nil {
		return s, err
	}
	for _, task := range failed[last] {
		if slices.Contains(done, task) {
			continue
		}
		f, _, err := look[Failure](ctx, p, object(hash, failures+"/"+last, task))
		if err != nil {
			return s, err
		}
		f.Task = task
		s.GivenUp = append(s.GivenUp, f)
	}
	s.Tasks.GivenUp = len(s.GivenUp)
	if s.Tasks.Done+s.Tasks.GivenUp < s.Tasks.All {
		note(workers, found)
		s.fromRecords(found)
	}
	return s, nil
}

// count counts what is done, and names bad images.
func (s *JobStatus) count(ctx context.Context, p place, job Job, tasks []int, found []Record) error {
	for i, r := range found {
		if tasks[i] < 0 {
			continue
		}
		if s.Tasks.Done++; r.At.After(s.Last) {
			s.Last = r.At
		}
		s.Images.Done += len(r.Images)
		bad := r.bad()
		s.Images.Bad += bad
		if bad == 0 || len(s.Bad) == mostBad {
			continue
		}
		images, _, err := look[[]Image](ctx, p, object(s.Job, lists, tasks[i]))
		if err != nil {
			return err
		}
		for k, d := range r.Images {
			if d.Fault == "" || len(s.Bad) == mostBad {
				continue
			}
			path := fmt.Sprintf("image %d of task %d", k, tasks[i])
			if k < len(images) {
				path = images[k].Path
			}
			s.Bad = append(s.Bad, BadImage{path, d.Fault})
		}
	}
	return nil
}

// note counts what workers have done.
func note(workers map[string]Worker, found []Record) {
	for _, r := range found {
		if r.Worker == "" {
			continue
		}
		w := workers[r.Worker]
		w.Name = r.Worker
		if i := strings.LastIndexByte(r.Worker, '-'); i > 0 {
			w.Host = r.Worker[:i]
		}
		w.Tasks++
		w.Images += len(r.Images)
		w.Bad += r.bad()
		if r.At.After(w.Seen) {
			w.Seen = r.At
		}
		if r.Seconds > 0 {
			w.Rate = float64(len(r.Images)) / r.Seconds
		}
		workers[r.Worker] = w
	}
}

// fromRecords tells the rate of a job by the times of its records, if there are some of late.
func (s *JobStatus) fromRecords(found []Record) {
	images, first := 0, time.Now()
	for _, r := range found {
		if begun := r.At.Add(-time.Duration(r.Seconds * float64(time.Second))); time.Since(r.At) < lately {
			images += len(r.Images)
			if begun.Before(first) {
				first = begun
			}
		}
	}
	if images > 0 {
		s.at(float64(images) / max(time.Since(first).Seconds(), 1e-3))
	}
}

// at notes a rate, and what follows from it.
func (s *JobStatus) at(rate float64) {
	s.Rate, s.ETA = rate, nil
	if rate > 0 {
		s.ETA = new(float64(s.Images.All-s.Images.Done) / rate)
	}
}

// ask adds what the queue and the workers say.
func (s *Status) ask(ctx context.Context, p place, q Queue) error {
	identity, err := p.read(ctx, "identity")
	if errors.Is(err, fs.ErrNotExist) {
		return fault.Data.Errorf("%s holds no jobs, so that the queue has none of them; is --cache that of the "+
			"workers?", p.Where(""))
	} else if err != nil {
		return err
	}
	c, err := q.open(ctx, string(identity), event.Events{})
	if err != nil {
		return err
	}
	defer c.close()
	for end := time.Now().Add(2 * time.Second); !c.nats.IsConnected(); rest(ctx, 50*time.Millisecond) {
		if refused := c.refused(); refused != nil || ctx.Err() != nil {
			return cmp.Or(refused, ctx.Err())
		}
		if time.Now().After(end) {
			return fmt.Errorf("the queue %s cannot be reached; is the server up, and the address right?", q.URL)
		}
	}
	status := QueueStatus{URL: q.URL}
	consumer, err := c.stream.Consumer(ctx, streamName, c.consumerName())
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound), errors.Is(err, jetstream.ErrStreamNotFound):
	case err != nil:
		return fmt.Errorf("the queue %s: %w", q.URL, err)
	default:
		info := consumer.CachedInfo()
		status.Waiting, status.GivenOut, status.Redelivered = int(info.NumPending), info.NumAckPending,
			info.NumRedelivered
	}
	workers, err := c.ask(ctx)
	if err != nil {
		return fmt.Errorf("the queue %s: %w", q.URL, err)
	}
	s.Queue, s.Workers = &status, workers
	for i := range s.Jobs {
		s.Jobs[i].of(workers)
	}
	return nil
}

// of adds what workers say of their tasks.
func (s *JobStatus) of(workers []Worker) {
	left := s.Tasks.All - s.Tasks.Done - s.Tasks.GivenUp
	at, rate := map[int]bool{}, 0.0
	for _, w := range workers {
		if w.Doing != nil && w.Doing.Job == s.Job {
			at[w.Doing.Task] = true
			rate += w.Rate
		}
	}
	s.Tasks.InWork = new(min(len(at), left))
	s.Tasks.Waiting = new(left - *s.Tasks.InWork)
	if len(at) == 0 {
		rate = 0
	} else if rate == 0 { // their first tasks
		rate = s.Rate
	}
	s.at(rate)
}

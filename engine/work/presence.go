package work

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/nats-io/nats.go"

	"github.com/vitft/vitft/engine/event"
)

// Worker is what a worker says of itself.
type Worker struct {
	Name    string    `json:"name"`
	Host    string    `json:"host"`
	Answers bool      `json:"answers"`           // else it is known by what it has done
	Since   time.Time `json:"since,omitzero"`    // it has been there
	Seen    time.Time `json:"last_seen"`         // when it said so, or its last record was made
	Doing   *Doing    `json:"doing,omitempty"`   // none: it waits for a task
	Tasks   int       `json:"tasks"`             // that it has done; of one that does not answer, of jobs that go on
	Images  int       `json:"images"`            // in them
	Bad     int       `json:"bad_images"`        // among these
	Rate    float64   `json:"images_per_second"` // of its last tasks
	Left    bool      `json:"left,omitempty"`    // it says good-bye
}

// Doing is the task that a worker is at.
type Doing struct {
	Job   string    `json:"job"`
	Task  int       `json:"task"`
	Since time.Time `json:"since"`
}

// recently is of how many tasks a worker's rate is.
const recently = 10

// presence is a worker as others see it. It is for several goroutines.
type presence struct {
	mu      sync.Mutex
	self    Worker
	doing   []*Doing
	images  []int // of the last tasks
	seconds []float64
	changed chan struct{} // a task was done since it was last said
}

func newPresence(name string) *presence {
	host, _ := os.Hostname()
	return &presence{changed: make(chan struct{}, 1),
		self: Worker{Name: name, Host: host, Answers: true, Since: time.Now().UTC()}}
}

// begins says that the worker is at a task now. Of two it shows the one that it has had for longer.
func (p *presence) begins(d *Doing) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doing = append(p.doing, d)
	p.self.Doing = p.doing[0]
}

// ends says that it is not any more.
func (p *presence) ends(d *Doing) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.self.Doing = nil
	if p.doing = slices.DeleteFunc(p.doing, func(x *Doing) bool { return x == d }); len(p.doing) > 0 {
		p.self.Doing = p.doing[0]
	}
}

// did counts a task.
func (p *presence) did(r Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.self.Tasks++
	p.self.Images += len(r.Images)
	p.self.Bad += r.bad()
	p.images, p.seconds = append(p.images, len(r.Images)), append(p.seconds, r.Seconds)
	if len(p.images) > recently {
		p.images, p.seconds = p.images[1:], p.seconds[1:]
	}
	images, seconds := 0, 1e-9
	for i := range p.images {
		images, seconds = images+p.images[i], seconds+p.seconds[i]
	}
	p.self.Rate = float64(images) / seconds
	wake(p.changed)
}

// wake has whoever waits at a channel go on, now or next time.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (p *presence) say(left bool) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.self.Seen, p.self.Left = time.Now().UTC(), left
	return encoded(p.self)
}

// shows has a worker seen by others until it is stopped: it says what it does when it has done a task, now and then,
// and when it is asked.
func (c *connection) shows(p *presence) (stop func()) {
	answers, err := c.nats.Subscribe(c.subject("ask"), func(m *nats.Msg) { _ = m.Respond(p.say(false)) })
	say := func(left bool) { _ = c.nats.Publish(c.subject("workers"), p.say(left)) } // that nobody hears is no harm
	ctx, cancel := context.WithCancel(context.Background())
	var said sync.WaitGroup
	said.Go(func() {
		for say(false); ; say(false) {
			select {
			case <-ctx.Done():
				return
			case <-p.changed:
			case <-time.After(c.patience / 3):
			}
		}
	})
	return func() {
		cancel()
		said.Wait()
		say(true)
		if err == nil {
			_ = answers.Unsubscribe()
		}
		_ = c.nats.FlushTimeout(time.Second)
	}
}

// subject is one of the bucket's, beside that of its tasks.
func (c *connection) subject(what string) string {
	return strings.Replace(c.tasks, ".tasks.", "."+what+".", 1)
}

// parseWorker reads what a worker has said. It is of whoever may write to the queue, so that texts are short and plain.
func parseWorker(text []byte) (w Worker, ok bool) {
	if err := json.Unmarshal(text, &w); err != nil || w.Name == "" || len(text) > 4096 {
		return Worker{}, false
	}
	plain := func(s string) string {
		return strings.Map(func(r rune) rune {
			if unicode.IsControl(r) {
				return -1
			}
			return r
		}, s)
	}
	w.Name, w.Host, w.Answers, w.Seen = plain(w.Name), plain(w.Host), true, time.Now().UTC()
	if w.Doing != nil {
		w.Doing.Job = plain(w.Doing.Job)
	}
	return w, w.Name != ""
}

// ask gives the workers that are there, in no order: for a second at most, and no longer than there are new ones.
func (c *connection) ask(ctx context.Context) ([]Worker, error) {
	inbox := c.nats.NewInbox()
	answers, err := c.nats.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answers.Unsubscribe() }()
	if err := c.nats.PublishRequest(c.subject("ask"), inbox, nil); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	workers := map[string]Worker{}
	for len(workers) < mostWorkers {
		quiet, stop := context.WithTimeout(ctx, 400*time.Millisecond)
		m, err := answers.NextMsgWithContext(quiet)
		stop()
		if err != nil {
			break
		}
		if w, ok := parseWorker(m.Data); ok {
			workers[w.Name] = w
		}
	}
	return slices.Collect(maps.Values(workers)), nil
}

// mostWorkers is how many workers are told apart, whatever comes from the queue.
const mostWorkers = 100_000

// roll is the workers of a bucket as they come and go. It is for several goroutines.
type roll struct {
	mu       sync.Mutex
	workers  map[string]Worker
	patience time.Duration
	events   event.Events
	heard    chan struct{} // that a worker has done something
}

// watches keeps a roll until it is stopped.
func (c *connection) watches(ev event.Events) (r *roll, stop func()) {
	r = &roll{workers: map[string]Worker{}, patience: c.patience, events: ev,
		heard: make(chan struct{}, 1)}
	hear := func(m *nats.Msg) {
		if w, ok := parseWorker(m.Data); ok {
			r.hear(w)
		}
	}
	inbox := c.nats.NewInbox()
	var heard []*nats.Subscription
	for _, subject := range []string{c.subject("workers"), inbox} {
		if s, err := c.nats.Subscribe(subject, hear); err == nil {
			heard = append(heard, s)
		}
	}
	_ = c.nats.PublishRequest(c.subject("ask"), inbox, nil) // those that are there already answer
	return r, func() {
		for _, s := range heard {
			_ = s.Unsubscribe()
		}
	}
}

func (r *roll) hear(w Worker) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before, known := r.workers[w.Name]
	if w.Tasks != before.Tasks && w.Name != workerName() { // that of this process says it itself
		wake(r.heard)
	}
	switch {
	case w.Left && known:
		delete(r.workers, w.Name)
		r.events.Info("worker left", "worker", w.Name, "tasks", w.Tasks, "images", w.Images)
		return
	case w.Left, !known && len(r.workers) == mostWorkers:
		return
	case !known:
		r.events.Info("worker joined", "worker", w.Name, "host", w.Host)
	}
	r.workers[w.Name] = w
}

// count is how many workers there are; those that have been silent for too long have left.
func (r *roll) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, w := range r.workers {
		if silent := time.Since(w.Seen); silent > 2*r.patience {
			delete(r.workers, name)
			r.events.Warn("worker left", "worker", name, "reason", "it says nothing", "seconds", int(silent.Seconds()))
		}
	}
	return len(r.workers)
}

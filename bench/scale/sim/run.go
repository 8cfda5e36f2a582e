package sim

import (
	"math/rand/v2"
)

// Run does a job.
func Run(p Plan, seed uint64) Result {
	r := &run{Plan: p, random: rand.New(rand.NewPCG(seed, 1))}
	r.begin()
	for !r.over {
		e := r.events.pop()
		r.now = e.at
		e.do()
	}
	return r.out
}

// event is what happens at a time; of two at the same time that which was planned first is first.
type event struct {
	at    float64
	order int
	do    func()
}

func (e event) before(o event) bool { return e.at < o.at || e.at == o.at && e.order < o.order }

// events is a heap: each comes before those at twice its index, plus one and two. That of container/heap, which takes
// any type, takes twice the time.
type events []event

func (e *events) push(x event) {
	*e = append(*e, x)
	h := *e
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h[i].before(h[up]) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

func (e *events) pop() event {
	h := *e
	first, last := h[0], len(h)-1
	h[0], h[last] = h[last], event{}
	h = h[:last]
	for i := 0; ; {
		down := 2*i + 1
		if down+1 < last && h[down+1].before(h[down]) {
			down++
		}
		if down >= last || !h[down].before(h[i]) {
			break
		}
		h[i], h[down] = h[down], h[i]
		i = down
	}
	*e = h
	return first
}

// run is a job under way.
type run struct {
	Plan
	out    Result
	random *rand.Rand
	now    float64
	events events
	order  int
	over   bool

	queue         queue
	reads, writes limit // of the bucket
	images        limit // of those that are read from it

	deadly, done, failed []bool // tasks
	submitter            submitter

	window, counted int // of messages: the ten seconds that are counted, and how many were in them
}

// in does something after a delay.
func (r *run) in(delay float64, do func()) {
	r.order++
	r.events.push(event{r.now + delay, r.order, do})
}

// count counts messages.
func (r *run) count(n int) {
	if w := int(r.now / 10); w != r.window {
		r.window, r.counted = w, 0
	}
	r.counted += n
	r.out.Busiest = max(r.out.Busiest, r.counted)
}

// size is how many images are in a task.
func (r *run) size(task int) int { return min(r.Size(), r.Images-task*r.Size()) }

// begin freezes the job; then tasks are queued and workers start.
func (r *run) begin() {
	size := r.Size()
	n := (r.Images + size - 1) / size
	r.out.Tasks = n
	r.deadly, r.done, r.failed = make([]bool, n), make([]bool, n), make([]bool, n)
	for i := range r.deadly {
		r.deadly[i] = r.Deadly > 0 && r.random.Float64() < r.Deadly
	}
	r.queue.messages = make([]message, n)
	r.reads.rate, r.writes.rate, r.images.rate = r.ReadLimit, r.WriteLimit, r.ImageLimit
	r.submitter.begin(n)

	// The buckets are reached, and what is there is listed; identity, keys, model, lists and job are put.
	r.starts(Requests{Put: 3 + r.Views, Get: r.Views, List: 4 + r.Views})
	r.out.Requests.Put += n
	puts := r.side(n, Together)
	if r.WriteLimit > 0 {
		puts = max(puts, float64(n)/r.WriteLimit)
	}
	r.out.Frozen = r.Freeze*float64(r.Images) + puts + 4*r.Latency
	r.in(r.out.Frozen, func() {
		r.look()
		for i := range r.Workers {
			w := &worker{run: r, slow: 1}
			if float64(i) < r.Slow*float64(r.Workers) {
				w.slow = r.SlowTimes
			}
			w.start()
		}
		if r.Restart > 0 {
			r.in(r.Restart, r.restart)
		}
	})
}

// starts counts requests of whoever starts.
func (r *run) starts(q Requests) {
	r.out.Requests.Add(q)
	r.out.OfStart.Add(q)
}

// side is how long n requests take, so many at a time.
func (r *run) side(n, together int) float64 { return float64((n+together-1)/together) * r.Latency }

// limit is a rate of requests that a bucket answers, with a second's worth at once.
type limit struct {
	rate, left, since float64
}

// take takes one, if there is one.
func (l *limit) take(now float64) bool {
	if l.rate == 0 {
		return true
	}
	l.left = min(l.rate, l.left+(now-l.since)*l.rate)
	l.since = now
	if l.left < 1 {
		return false
	}
	l.left--
	return true
}

// drain is how long it takes to get n, in turn with all others.
func (l *limit) drain(now float64, n int) float64 {
	if l.rate == 0 {
		return 0
	}
	l.since = max(l.since, now) + float64(n)/l.rate
	return l.since - now
}

package sim

import (
	"fmt"
	"math"
	"testing"
)

// quiet is a world in which nothing takes time but images, and nothing goes wrong.
func quiet() Plan {
	return Plan{Images: 10_000, TaskImages: 100, Views: 1, Dim: 192, Workers: 1, Rate: 50}
}

// rough is one in which everything goes wrong.
func rough() Plan {
	p := quiet()
	p.Images, p.Workers, p.Views = 100_050, 40, 2
	p.Overhead, p.Scatter, p.Startup = 0.1, 0.2, 5
	p.Slow, p.SlowTimes = 0.1, 20
	p.Preempted, p.Warned, p.Replaced, p.Deadly = 20, 0.5, 20, 0.01
	p.Restart, p.Outage, p.Lost = 30, 5, true
	p.Latency, p.ReadLimit, p.WriteLimit = 0.03, 100, 60
	p.Served, p.Publish = 10_000, 10_000
	return p
}

// What can be told without a simulation.
func TestClosedForms(t *testing.T) {
	for _, workers := range []int{1, 2, 7, 99, 100, 1000} {
		p := quiet()
		p.Workers = workers
		r := Run(p, 1)
		want := math.Ceil(100/float64(workers)) * 2
		if math.Abs(r.Worked-r.Frozen-want) > 1e-6 {
			t.Errorf("100 tasks of 2 s by %d workers take %g s, not %g", workers, r.Worked-r.Frozen, want)
		}
		if late := r.Makespan - r.Worked; late < 0 || late > LastLook {
			t.Errorf("%d workers: the end is seen after %g s", workers, late)
		}
		if r.Encoded != 10_000 || r.Doubled+r.Deaths+r.Beats+r.GivenUp+r.Throttled != 0 || r.Rounds != 1 ||
			r.Published != 100 || r.Delivered != 100 || r.Acknowledged != 100 || r.Stored != 100 {
			t.Errorf("%d workers: %+v", workers, r)
		}
		if own := r.Requests; own.Put != 100*4+4+workers || own.Get-r.OfLooks.Get != 100+1+5*workers ||
			own.List-r.OfLooks.List != 100+5+2*workers {
			t.Errorf("%d workers: requests %+v, of looks %+v", workers, r.Requests, r.OfLooks)
		}
	}
	p := quiet() // a heart-beat every ten seconds, and all of a task's are in it
	p.Rate = 2
	if r := Run(p, 1); r.Beats != 100*5 || math.Abs(r.Worked-r.Frozen-5000) > 1e-6 {
		t.Errorf("%d heart-beats in 100 tasks of 50 s, %g s", r.Beats, r.Worked-r.Frozen)
	}
	p.Deadly = 1 // each is given out ten times, and then given up
	p.Replaced = 1
	if r := Run(p, 1); r.GivenUp != 100 || r.Done != 0 || r.Deaths != 1000 || r.Delivered != 1100 {
		t.Errorf("deadly tasks: %+v", r)
	}
	p = quiet() // a broker that comes back empty: what it had is queued again, what was done is not
	p.Restart, p.Outage, p.Lost = 101, 1, true
	if r := Run(p, 1); r.Rounds != 2 || r.Done != 100 || r.Published < 145 || r.Published > 155 || r.Doubled > 1 ||
		r.Delivered > 102 {
		t.Errorf("a broker that loses all: %+v", r)
	}
	p = quiet() // the last task is what is left
	p.Images = 10_050
	if r := Run(p, 1); r.Tasks != 101 || r.Encoded != 10_050 || math.Abs(r.Worked-r.Frozen-201) > 1e-6 {
		t.Errorf("a task of 50 images: %+v", r)
	}
	p = quiet() // four requests a task that put or list: the bucket's limit is the job's
	p.Workers, p.WriteLimit = 100, 2
	if r := Run(p, 1); r.Throttled == 0 || r.Worked-r.Frozen < 100*4/2-2 {
		t.Errorf("a bucket of two requests a second: %+v", r)
	}
}

// A message that is on the queue anew is not given out because of the silence about the one before.
func TestExpire(t *testing.T) {
	r := &run{}
	r.queue.messages = make([]message, 1)
	r.publish(0)
	task, _ := r.queue.next()
	old := r.queue.messages[0].id
	r.expire(task, old, Patience)
	r.remove(task, old)
	r.publish(0)
	if _, ok := r.queue.next(); !ok {
		t.Fatal("the new message is not given out")
	}
	if r.remove(task, old); r.queue.stored != 1 {
		t.Error("whoever has the old message acknowledges the new one")
	}
	r.now = Patience
	r.events.pop().do()
	if task, ok := r.queue.next(); ok {
		t.Errorf("task %d is given out again", task)
	}
	r.expire(0, r.queue.messages[0].id, Patience)
	r.events.pop().do()
	if _, ok := r.queue.next(); !ok || r.queue.messages[0].tries != 2 {
		t.Errorf("after silence: %+v", r.queue.messages[0])
	}
}

// However much goes wrong each task ends once in the record, or is given up; what was encoded more than once is
// counted.
func TestConservation(t *testing.T) {
	doubled := 0
	for seed := range uint64(20) {
		r := Run(rough(), seed)
		doubled += r.Doubled
		if r.Tasks != 1001 || r.Done+r.GivenUp != r.Tasks {
			t.Errorf("seed %d: %d done and %d given up of %d", seed, r.Done, r.GivenUp, r.Tasks)
		}
		most := (r.Done + r.Doubled) * 100
		if r.Encoded < r.Done*100-50 || r.Encoded > most+100*r.Deaths || r.Deaths == 0 {
			t.Errorf("seed %d: %d images were encoded, %d tasks doubled, %d deaths", seed, r.Encoded,
				r.Doubled, r.Deaths)
		}
		if r.Delivered < r.Acknowledged || r.Published < r.Tasks || r.Rounds < 2 || r.GivenUp == 0 || r.Throttled == 0 {
			t.Errorf("seed %d: %+v", seed, r)
		}
		if again := Run(rough(), seed); again != r {
			t.Errorf("seed %d gives another result:\n%+v\n%+v", seed, r, again)
		}
	}
	if doubled == 0 {
		t.Error("no task was done twice")
	}
	if Run(rough(), 1) == Run(rough(), 2) {
		t.Error("two seeds give one result")
	}
}

// What makes it harder makes it longer, in the mean of some seeds.
func TestMonotonic(t *testing.T) {
	mean := func(change func(*Plan)) (sum float64) {
		p := quiet()
		p.Images, p.Workers, p.Scatter, p.Replaced, p.Latency = 100_000, 20, 0.1, 30, 0.02
		change(&p)
		for seed := range uint64(8) {
			sum += Run(p, seed).Makespan / 8
		}
		return sum
	}
	base := mean(func(*Plan) {})
	for what, change := range map[string]func(p *Plan, more float64){
		"images":     func(p *Plan, more float64) { p.Images += int(more * 100_000) },
		"preemption": func(p *Plan, more float64) { p.Preempted = 60 * more },
		"stragglers": func(p *Plan, more float64) { p.Slow, p.SlowTimes = 0.3*more, 5 },
		"latency":    func(p *Plan, more float64) { p.Latency += more },
		"deadly":     func(p *Plan, more float64) { p.Deadly = 0.02 * more },
		"outage":     func(p *Plan, more float64) { p.Restart, p.Outage = 20, 60*more },
		"limit":      func(p *Plan, more float64) { p.WriteLimit = 30 / more },
		"views":      func(p *Plan, more float64) { p.Views = 1 + int(10*more) },
	} {
		last := base
		for _, more := range []float64{0.5, 1} {
			took := mean(func(p *Plan) { change(p, more) })
			if took <= last {
				t.Errorf("%s at %g: %g s, after %g", what, more, took, last)
			}
			last = took
		}
	}
	for last, workers := base, 40; workers <= 160; workers *= 2 {
		took := mean(func(p *Plan) { p.Workers = workers })
		if took >= last {
			t.Errorf("%d workers take %g s, half of them %g", workers, took, last)
		}
		last = took
	}
}

// A task holds no more images than its bytes, and those of its features, allow.
func TestSize(t *testing.T) {
	for _, c := range []struct {
		most, dim int
		bytes     float64
		want      int
	}{{512, 192, 0, 512}, {1 << 16, 768, 0, 21845}, {1 << 16, 768, 100_000, 2685}, {512, 768, 1 << 30, 1},
		{1, 1, 1, 1}} {
		if got := (Plan{TaskImages: c.most, Dim: c.dim, ImageBytes: c.bytes}).Size(); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

func ExampleRun() {
	r := Run(Plan{Images: 1_000_000, TaskImages: 512, Views: 1, Dim: 768, Workers: 10, Rate: 100}, 1)
	fmt.Printf("%d tasks in %.0f s\n", r.Tasks, r.Worked)
	// Output: 1954 tasks in 1004 s
}

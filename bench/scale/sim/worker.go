package sim

import (
	"math"
	"slices"
)

// worker does tasks, one at a time.
type worker struct {
	*run
	slow float64 // times as long as others
	life int     // how often it was started: what was planned in another life does not happen

	asks    bool    // for a task
	since   float64 // when
	has     bool    // a task
	task    int
	id      int // of its message
	begun   float64
	failing []int // tasks that have failed since one did not
}

// after does something after a delay, unless the worker is dead by then.
func (w *worker) after(delay float64, do func()) {
	life := w.life
	w.in(delay, func() {
		if w.life == life {
			do()
		}
	})
}

// start starts a worker, and plans its death.
func (w *worker) start() {
	w.out.Starts++
	w.starts(Requests{Put: 1, Get: 4 + w.Views, List: 2}) // identity, keys, job and model
	w.asks, w.has, w.failing = false, false, nil
	w.after(w.Startup, func() { w.ask() })
	if w.Preempted > 0 {
		w.after(w.random.ExpFloat64()*3600/w.Preempted, func() { w.die(w.random.Float64() < w.Warned) })
	}
}

// die ends a worker, which may have time to give its task back, and plans another in its place. The queue gives a task
// that is not given back to others when no heart-beat comes.
func (w *worker) die(warned bool) {
	w.out.Deaths++
	w.out.Paid -= w.Replaced
	w.stopAsking()
	if w.has {
		beats := w.beat()
		w.out.Wasted += max(0, w.now-w.begun)
		if warned && w.now >= w.queue.away {
			w.giveBack()
		} else {
			w.expire(w.task, w.id, w.begun+float64(beats)*Beat+Patience-w.now)
		}
	}
	w.life++
	w.has = false
	w.after(w.Replaced, w.start)
}

// giveBack puts the task on the queue anew: it is not at fault.
func (w *worker) giveBack() {
	w.remove(w.task, w.id)
	w.out.Acknowledged++
	w.count(2)
	w.publish(w.task)
}

// beat counts the heart-beats of the task.
func (w *worker) beat() int {
	n := max(0, int((w.now-w.begun)/Beat))
	w.out.Beats += n
	w.count(n)
	return n
}

// ask asks for a task, or waits for one.
func (w *worker) ask() {
	w.asks, w.since = true, w.now
	w.queue.waiting = append(w.queue.waiting, w)
	w.give()
}

// stopAsking counts the polls that were in vain.
func (w *worker) stopAsking() {
	if w.asks {
		w.out.Polls += int((w.now - w.since) / Poll)
		w.asks = false
	}
}

// get takes a task from the queue.
func (w *worker) get() {
	task, ok := w.queue.next()
	if !ok {
		w.queue.waiting = append(w.queue.waiting, w)
		return
	}
	w.stopAsking()
	w.out.Delivered++
	m := w.queue.messages[task]
	w.has, w.task, w.id = true, task, m.id
	delay := w.served(2)
	w.begun = w.now + delay
	if m.tries > Tries {
		w.after(delay, w.giveUp)
		return
	}
	w.after(delay, w.read)
}

// giveUp records that a task was tried too often.
func (w *worker) giveUp() {
	w.request(&w.writes, &w.out.Requests.Put, func() {
		if !w.failed[w.task] {
			w.failed[w.task] = true
			w.out.GivenUp++
			w.submitter.fresh = append(w.submitter.fresh, w.task)
		}
		w.remove(w.task, w.id)
		w.has = false
		w.ask()
	})
}

// read fetches the list of the task, and looks whether it is done.
func (w *worker) read() {
	w.request(&w.reads, &w.out.Requests.Get, func() {
		w.request(&w.writes, &w.out.Requests.List, func() {
			if !w.done[w.task] {
				w.encode()
				return
			}
			w.request(&w.reads, &w.out.Requests.Get, func() {
				w.requests(&w.writes, &w.out.Requests.List, w.Views, w.acknowledge)
			})
		})
	})
}

// encode reads the images and runs the backbone, and publishes what comes out.
func (w *worker) encode() {
	n := w.size(w.task)
	took := w.Overhead + float64(n)/w.Rate*w.slow
	if w.Scatter > 0 {
		took *= math.Exp(w.Scatter*w.random.NormFloat64() - w.Scatter*w.Scatter/2)
	}
	if w.FromBucket {
		w.out.OfImages += n
		took = max(took, w.images.drain(w.now, n))
	}
	if w.deadly[w.task] {
		w.after(took*w.random.Float64(), func() { w.die(false) })
		return
	}
	w.after(took, func() {
		w.out.Encoded += n
		w.requests(&w.writes, &w.out.Requests.Put, 2*w.Views, func() { // a block and its index
			w.request(&w.writes, &w.out.Requests.Put, w.record)
		})
	})
}

// record writes what the task has done.
func (w *worker) record() {
	if w.done[w.task] {
		w.out.Doubled++
	} else {
		w.done[w.task] = true
		w.out.Done++
		w.out.Worked = w.now
		w.submitter.fresh = append(w.submitter.fresh, w.task)
	}
	w.acknowledge()
}

// acknowledge takes the task off the queue, if that can be reached, and goes on.
func (w *worker) acknowledge() {
	w.failing = nil
	w.beat()
	if w.now < w.queue.away {
		w.expire(w.task, w.id, Patience)
		w.after(5, w.next)
		return
	}
	w.out.Acknowledged++
	w.after(w.served(4), func() { // with what the worker then says of itself, to who submits
		w.remove(w.task, w.id)
		w.next()
	})
}

func (w *worker) next() {
	w.has = false
	w.ask()
}

// requests are several to the bucket, one after the other.
func (w *worker) requests(of *limit, count *int, n int, then func()) {
	if n == 0 {
		then()
		return
	}
	w.request(of, count, func() { w.requests(of, count, n-1, then) })
}

// enough is how long a request is repeated.
const enough = 300

// request is one to the bucket, repeated as package cloud does: half a second later, then half as long again each time,
// and by half of that more or less; after five minutes the task has failed.
func (w *worker) request(of *limit, count *int, then func()) {
	pause, first := 0.5, w.now
	var try func()
	try = func() {
		if of.take(w.now) {
			*count++
			w.after(w.Latency, then)
			return
		}
		w.out.Throttled++
		if w.now-first > enough {
			w.fail()
			return
		}
		w.after(w.Latency+pause*(0.5+w.random.Float64()), try)
		pause = min(60, 1.5*pause)
	}
	try()
}

// fail has the task given out again; after three in a row the worker takes it that the fault is its own, and ends.
func (w *worker) fail() {
	if !slices.Contains(w.failing, w.task) {
		w.failing = append(w.failing, w.task)
	}
	if len(w.failing) == 3 {
		w.die(true)
		return
	}
	w.out.Wasted += w.now - w.begun
	w.beat()
	w.expire(w.task, w.id, float64(w.queue.messages[w.task].tries))
	w.count(1)
	w.next()
}

package sim

import (
	"math"
	"slices"
)

// worker does tasks with two hands: while one publishes what it has encoded, the other asks for a task and encodes that.
type worker struct {
	*run
	slow float64 // times as long as others
	life int     // how often it was started: what was planned in another life does not happen

	hands   [2]*hand
	turn    *hand // asks for a task, or is at one that is not encoded yet
	opened  bool  // the job is: its first task was begun
	failing []int // tasks that have failed since one did not
}

// hand has a task at most.
type hand struct {
	*worker
	asks  bool    // for a task
	since float64 // when
	has   bool    // a task
	task  int
	id    int // of its message
	begun float64
	alone bool   // the task is done with nothing in the other hand
	waits func() // for that
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
	w.hands, w.turn, w.opened, w.failing = [2]*hand{{worker: w}, {worker: w}}, nil, false, nil
	w.after(w.Startup, w.offer)
	if w.Preempted > 0 {
		w.after(w.random.ExpFloat64()*3600/w.Preempted, func() { w.die(w.random.Float64() < w.Warned) })
	}
}

// offer lets a hand without a task ask for one, if it is nobody's turn.
func (w *worker) offer() {
	for _, h := range w.hands {
		if w.turn == nil && !h.has {
			w.turn = h
			h.ask()
		}
	}
}

// die ends a worker, which may have time to give its tasks back, and plans another in its place. The queue gives a task
// that is not given back to others when no heart-beat comes.
func (w *worker) die(warned bool) {
	w.out.Deaths++
	w.out.Paid -= w.Replaced
	for _, h := range w.hands {
		h.stopAsking()
		if !h.has {
			continue
		}
		beats := h.beat()
		w.out.Wasted += max(0, w.now-h.begun)
		if warned && w.now >= w.queue.away {
			h.giveBack()
		} else {
			w.expire(h.task, h.id, h.begun+float64(beats)*Beat+Patience-w.now)
		}
	}
	w.life++
	w.after(w.Replaced, w.start)
}

// giveBack puts the task on the queue anew: it is not at fault.
func (w *hand) giveBack() {
	w.remove(w.task, w.id)
	w.out.Acknowledged++
	w.count(2)
	w.publish(w.task)
}

// beat counts the heart-beats of the task.
func (w *hand) beat() int {
	n := max(0, int((w.now-w.begun)/Beat))
	w.out.Beats += n
	w.count(n)
	return n
}

// ask asks for a task, or waits for one.
func (w *hand) ask() {
	w.asks, w.since = true, w.now
	w.queue.waiting = append(w.queue.waiting, w)
	w.give()
}

// stopAsking counts the polls that were in vain.
func (w *hand) stopAsking() {
	if w.asks {
		w.out.Polls += int((w.now - w.since) / Poll)
		w.asks = false
	}
}

// get takes a task from the queue.
func (w *hand) get() {
	task, ok := w.queue.next()
	if !ok {
		w.queue.waiting = append(w.queue.waiting, w)
		return
	}
	w.stopAsking()
	w.out.Delivered++
	m := w.queue.messages[task]
	w.has, w.task, w.id = true, task, m.id
	w.alone = m.tries > 1 || !w.opened // whoever had it may have died of it
	w.opened = true
	delay := w.served(2)
	w.begun = w.now + delay
	then := w.read
	if m.tries > Tries {
		then = w.giveUp
	}
	w.after(delay, func() {
		if w.alone && w.other().has {
			w.waits = then
			return
		}
		then()
	})
}

// other is the other hand.
func (w *hand) other() *hand {
	if w.hands[0] == w {
		return w.hands[1]
	}
	return w.hands[0]
}

// giveUp records that a task was tried too often.
func (w *hand) giveUp() {
	w.request(&w.writes, &w.out.Requests.Put, func() {
		if !w.failed[w.task] {
			w.failed[w.task] = true
			w.out.GivenUp++
			w.submitter.fresh = append(w.submitter.fresh, w.task)
		}
		w.remove(w.task, w.id)
		w.next()
	})
}

// read fetches the list of the task, and looks whether it is done.
func (w *hand) read() {
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
func (w *hand) encode() {
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
		w.pass()
		w.requests(&w.writes, &w.out.Requests.Put, 2*w.Views, func() { // a block and its index
			w.request(&w.writes, &w.out.Requests.Put, w.record)
		})
	})
}

// record writes what the task has done.
func (w *hand) record() {
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
func (w *hand) acknowledge() {
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

// pass lets the other hand ask for a task while what is encoded is published.
func (w *hand) pass() {
	if !w.alone {
		w.turn = nil
		w.offer()
	}
}

// next lets go of the task.
func (w *hand) next() {
	w.has = false
	if w.turn == w {
		w.turn = nil
	}
	if then := w.other().waits; then != nil {
		w.other().waits = nil
		then()
	}
	w.offer()
}

// requests are several to the bucket, one after the other.
func (w *hand) requests(of *limit, count *int, n int, then func()) {
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
func (w *hand) request(of *limit, count *int, then func()) {
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
func (w *hand) fail() {
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

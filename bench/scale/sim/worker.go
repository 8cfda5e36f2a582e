package sim

import (
	"math"
	"slices"
)

// worker does tasks with two hands: while one publishes what it has encoded, the other asks for a task and encodes it.
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
func (h *hand) giveBack() {
	h.remove(h.task, h.id)
	h.out.Acknowledged++
	h.count(2)
	h.publish(h.task)
}

// beat counts the heart-beats of the task.
func (h *hand) beat() int {
	n := max(0, int((h.now-h.begun)/Beat))
	h.out.Beats += n
	h.count(n)
	return n
}

// ask asks for a task, or waits for one.
func (h *hand) ask() {
	h.asks, h.since = true, h.now
	h.queue.waiting = append(h.queue.waiting, h)
	h.give()
}

// stopAsking counts the polls that were in vain.
func (h *hand) stopAsking() {
	if h.asks {
		h.out.Polls += int((h.now - h.since) / Poll)
		h.asks = false
	}
}

// get takes a task from the queue.
func (h *hand) get() {
	task, ok := h.queue.next()
	if !ok {
		h.queue.waiting = append(h.queue.waiting, h)
		return
	}
	h.stopAsking()
	h.out.Delivered++
	m := h.queue.messages[task]
	h.has, h.task, h.id = true, task, m.id
	h.alone = m.tries > 1 || !h.opened // whoever had it may have died of it
	h.opened = true
	delay := h.served(2)
	h.begun = h.now + delay
	then := h.read
	if m.tries > Tries {
		then = h.giveUp
	}
	h.after(delay, func() {
		if h.alone && h.other().has {
			h.waits = then
			return
		}
		then()
	})
}

// other is the other hand.
func (h *hand) other() *hand {
	if h.hands[0] == h {
		return h.hands[1]
	}
	return h.hands[0]
}

// giveUp records that a task was tried too often.
func (h *hand) giveUp() {
	h.request(&h.writes, &h.out.Requests.Put, func() {
		if !h.failed[h.task] {
			h.failed[h.task] = true
			h.out.GivenUp++
			h.submitter.fresh = append(h.submitter.fresh, h.task)
		}
		h.remove(h.task, h.id)
		h.next()
	})
}

// read fetches the list of the task, and looks whether it is done.
func (h *hand) read() {
	h.request(&h.reads, &h.out.Requests.Get, func() {
		h.request(&h.writes, &h.out.Requests.List, func() {
			if !h.done[h.task] {
				h.encode()
				return
			}
			h.request(&h.reads, &h.out.Requests.Get, func() {
				h.requests(&h.writes, &h.out.Requests.List, h.Views, h.acknowledge)
			})
		})
	})
}

// encode reads the images and runs the backbone, and publishes what comes out.
func (h *hand) encode() {
	n := h.size(h.task)
	took := h.Overhead + float64(n)/h.Rate*h.slow
	if h.Scatter > 0 {
		took *= math.Exp(h.Scatter*h.random.NormFloat64() - h.Scatter*h.Scatter/2)
	}
	if h.FromBucket {
		h.out.OfImages += n
		took = max(took, h.images.drain(h.now, n))
	}
	if h.deadly[h.task] {
		h.after(took*h.random.Float64(), func() { h.die(false) })
		return
	}
	h.after(took, func() {
		h.out.Encoded += n
		h.pass()
		h.requests(&h.writes, &h.out.Requests.Put, 2*h.Views, func() { // a block and its index
			h.request(&h.writes, &h.out.Requests.Put, h.record)
		})
	})
}

// record writes what the task has done.
func (h *hand) record() {
	if h.done[h.task] {
		h.out.Doubled++
	} else {
		h.done[h.task] = true
		h.out.Done++
		h.out.Worked = h.now
		h.submitter.fresh = append(h.submitter.fresh, h.task)
	}
	h.acknowledge()
}

// acknowledge takes the task off the queue, if that can be reached, and goes on.
func (h *hand) acknowledge() {
	h.failing = nil
	h.beat()
	if h.now < h.queue.away {
		h.expire(h.task, h.id, Patience)
		h.after(5, h.next)
		return
	}
	h.out.Acknowledged++
	h.after(h.served(4), func() { // with what the worker then says of itself, to who submits
		h.remove(h.task, h.id)
		h.next()
	})
}

// pass lets the other hand ask for a task while what is encoded is published.
func (h *hand) pass() {
	if !h.alone {
		h.turn = nil
		h.offer()
	}
}

// next lets go of the task.
func (h *hand) next() {
	h.has = false
	if h.turn == h {
		h.turn = nil
	}
	if then := h.other().waits; then != nil {
		h.other().waits = nil
		then()
	}
	h.offer()
}

// requests are several to the bucket, one after the other.
func (h *hand) requests(of *limit, count *int, n int, then func()) {
	if n == 0 {
		then()
		return
	}
	h.request(of, count, func() { h.requests(of, count, n-1, then) })
}

// enough is how long a request is repeated.
const enough = 300

// request is one to the bucket, repeated as package cloud does: half a second later, then half as long again each time,
// and by half of that more or less; after five minutes the task has failed.
func (h *hand) request(of *limit, count *int, then func()) {
	pause, first := 0.5, h.now
	var try func()
	try = func() {
		if of.take(h.now) {
			*count++
			h.after(h.Latency, then)
			return
		}
		h.out.Throttled++
		if h.now-first > enough {
			h.fail()
			return
		}
		h.after(h.Latency+pause*(0.5+h.random.Float64()), try)
		pause = min(60, 1.5*pause)
	}
	try()
}

// fail has the task given out again; after three in a row the worker takes it that the fault is its own, and ends.
func (h *hand) fail() {
	if !slices.Contains(h.failing, h.task) {
		h.failing = append(h.failing, h.task)
	}
	if len(h.failing) == 3 {
		h.die(true)
		return
	}
	h.out.Wasted += h.now - h.begun
	h.beat()
	h.expire(h.task, h.id, float64(h.queue.messages[h.task].tries))
	h.count(1)
	h.next()
}

package sim

// message is a task on the queue.
type message struct {
	id     int  // of this message, of several of the task
	tries  int  // how often it was given out
	stored bool // until it is acknowledged
}

// queue is the broker. What is given out again goes before what was not given out yet.
type queue struct {
	messages []message // of each task the last one
	again    []int     // tasks
	fresh    []int
	stored   int
	ids      int
	away     float64 // until then it cannot be reached
	busy     float64 // until then it is
	waiting  []*hand
}

// served is how long n messages take, after those before.
func (r *run) served(n int) float64 {
	q := &r.queue
	q.busy = max(q.busy, q.away, r.now)
	if r.Served > 0 {
		q.busy += float64(n) / r.Served
	}
	r.count(n)
	return q.busy - r.now
}

// publish puts a task on the queue, as a new message.
func (r *run) publish(task int) {
	q := &r.queue
	q.ids++
	q.stored++
	q.messages[task] = message{id: q.ids, stored: true}
	q.fresh = append(q.fresh, task)
	r.out.Published++
	r.count(2)
	r.out.Stored = max(r.out.Stored, q.stored)
	r.give()
}

// give gives tasks to workers that wait, who has waited longest first.
func (r *run) give() {
	q := &r.queue
	for len(q.waiting) > 0 && len(q.again)+len(q.fresh) > 0 {
		w := q.waiting[0]
		q.waiting = q.waiting[1:]
		if w.asks {
			w.get()
		}
	}
}

// next is the task that is given out now.
func (q *queue) next() (task int, ok bool) {
	for _, from := range []*[]int{&q.again, &q.fresh} {
		for len(*from) > 0 {
			task, *from = (*from)[0], (*from)[1:]
			if q.messages[task].stored {
				q.messages[task].tries++
				return task, true
			}
		}
	}
	return 0, false
}

// expire gives a message out again after a delay, unless it is acknowledged, or lost, by then.
func (r *run) expire(task, id int, delay float64) {
	r.in(delay, func() {
		if m := r.queue.messages[task]; m.id != id || !m.stored {
			return
		}
		if r.now < r.queue.away {
			r.expire(task, id, r.queue.away-r.now)
			return
		}
		r.queue.again = append(r.queue.again, task)
		r.give()
	})
}

// remove takes a message off the queue, if it is there.
func (r *run) remove(task, id int) {
	if m := &r.queue.messages[task]; m.id == id && m.stored {
		m.stored = false
		r.queue.stored--
	}
}

// restart takes the broker away for a while.
func (r *run) restart() {
	q := &r.queue
	q.away = r.now + r.Outage
	if r.Lost {
		for task := range q.messages {
			q.messages[task].stored = false
		}
		q.again, q.fresh, q.stored = nil, nil, 0
	}
}

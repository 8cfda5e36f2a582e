package sim

// submitter is the process that submits the job and watches the bucket.
type submitter struct {
	fresh   []int // tasks done or given up that it does not know of
	unknown []int // of each thousand tasks, how many it does not know of
	there   []int // of each thousand, how many have a record
	left    int   // tasks that it does not know of
	empty   bool  // the queue was, when it looked last
	pause   float64
	took    float64 // the last look
}

func (s *submitter) begin(tasks int) {
	s.pause, s.left = FirstLook, tasks
	s.unknown, s.there = make([]int, (tasks+Page-1)/Page), make([]int, (tasks+Page-1)/Page)
	for i := range s.unknown {
		s.unknown[i] = min(Page, tasks-i*Page)
	}
}

// look lists the records of every thousand tasks of which some are missing, reads the new ones, and lists the blocks
// of their thousands. At its end it queues what is missing, if the queue has nothing.
func (r *run) look() {
	s := &r.submitter
	found := s.fresh
	s.fresh = nil
	groups := 0
	for _, n := range s.unknown {
		if n > 0 {
			groups++
		}
	}
	requests := Requests{List: groups + 1} // and of those given up
	took := r.side(groups, Together) + r.Latency
	images, records := 0, 0
	thousands := map[int]int{}
	for _, task := range found {
		requests.Get++
		if r.failed[task] {
			continue
		}
		records++
		images += r.size(task)
		thousands[task/Page]++
		s.there[task/Page]++
	}
	took += r.side(len(found), Together) + float64(images)*r.Learn
	blocks := 0
	for thousand := range thousands { // two names for each task
		blocks += r.Views * max(1, (2*s.there[thousand]+Page-1)/Page)
	}
	if s.left == 1 {
		blocks = r.Views * records
	}
	requests.List += blocks
	took += r.side(blocks, Together)
	s.took = took
	r.out.Looks++
	r.out.Longest = max(r.out.Longest, took)
	r.out.Requests.Add(requests)
	r.out.OfLooks.Add(requests)
	r.count(4)
	r.in(took, func() {
		for _, task := range found {
			s.unknown[task/Page]--
			s.left--
		}
		if s.left == 0 {
			r.end()
			return
		}
		r.tend()
	})
}

// tend queues what is missing if the queue has nothing, and had nothing before the look, and plans the next one.
func (r *run) tend() {
	s := &r.submitter
	if r.queue.stored > 0 || r.now < r.queue.away {
		s.empty = s.empty && r.queue.stored == 0
		r.again()
		return
	}
	if s.empty = !s.empty; s.empty && r.out.Rounds > 0 {
		r.again()
		return
	}
	unseen := map[int]bool{} // of who submits: done since it looked
	for _, task := range s.fresh {
		unseen[task] = true
	}
	var tasks []int
	for task := range r.done {
		if !r.done[task] && !r.failed[task] || unseen[task] {
			tasks = append(tasks, task)
		}
	}
	r.out.Rounds++
	r.queueUp(tasks)
}

// chunk is how many tasks are queued in one event.
const chunk = 100

func (r *run) queueUp(tasks []int) {
	n := min(chunk, len(tasks))
	for _, task := range tasks[:n] {
		r.publish(task)
	}
	delay := 0.0
	if r.Publish > 0 {
		delay = float64(n) / r.Publish
	}
	r.in(delay, func() {
		if n < len(tasks) {
			r.queueUp(tasks[n:])
			return
		}
		r.again()
	})
}

// again plans the next look: workers say what they do, which is heard after a rest ten times as long as the look.
func (r *run) again() {
	s := &r.submitter
	r.in(min(s.pause, max(Rest, 10*s.took)), r.look)
	s.pause = min(2*s.pause, LastLook)
}

// end ends the job.
func (r *run) end() {
	r.over = true
	r.out.Makespan = r.now
	r.out.Paid += float64(r.Workers) * (r.now - r.out.Frozen)
	for _, w := range r.queue.waiting {
		w.stopAsking()
	}
}

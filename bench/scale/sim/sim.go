// Package sim simulates a job of package engine/work: tasks on a queue, workers that die and come back, a bucket that
// says no, the process that submits and watches.
//
// # Basics
//
//	r := sim.Run(sim.Plan{Images: 1e9, TaskImages: 2684, Views: 1, Workers: 1000, …}, seed)
//	fmt.Println(r.Makespan, r.Requests.Put, r.Messages())
//
// What happens follows docs/machines.md and the code of engine/work, event by event: a delivery, a request to the
// bucket, a heart-beat that does not come. How long it takes is a [Plan]'s, and is measured elsewhere. The same plan
// and seed give the same result.
//
// # Caveats
//
// Heart-beats, and reads of images from a bucket, are counted and not simulated one by one. A worker's clock, the
// network between and the disks are not in it.
package sim

import "math"

// Rules are those of the protocol, as engine/work has them.
const (
	Patience  = 30.0    // seconds without a heart-beat after which another worker gets a task: --queue-patience
	Beat      = 10.0    // seconds between heart-beats: a third of that
	Tries     = 10      // how often a task is given out before it is given up
	Poll      = 2.0     // seconds that a worker waits for a task before it asks anew
	FirstLook = 0.1     // seconds until the submitting process looks at the bucket again, twice as many each time,
	LastLook  = 5.0     // up to so many,
	Rest      = 0.5     // and no sooner than after this, or ten times what the last look took, when workers are heard
	Together  = 32      // requests of the submitting process at a time
	Page      = 1000    // names in an answer to a request that lists
	TaskBytes = 1 << 28 // bytes of image files after which a task ends
	RowBytes  = 1 << 26 // bytes of features in a task at most, in each view
)

// Plan is a job, and the world that it is done in. Times are in seconds.
type Plan struct {
	Images     int
	TaskImages int // in a task at most: --task-images
	ImageBytes float64
	Views, Dim int
	Workers    int

	// A worker.
	Rate      float64 // images a second that it reads, decodes and encodes
	Overhead  float64 // of a task, beside images and requests
	Scatter   float64 // standard deviation of the logarithm of a task's time
	Startup   float64 // from its start to its first task
	Slow      float64 // share of workers that are stragglers
	SlowTimes float64 // how many times as long those take

	// What goes wrong.
	Preempted float64 // deaths of a worker per hour
	Warned    float64 // share of them with a SIGTERM before, in time to give the task back
	Replaced  float64 // until another is there in its place
	Deadly    float64 // share of tasks whose worker always dies of them
	Restart   float64 // when the broker is away; 0: never
	Outage    float64 // for how long
	Lost      bool    // and comes back without what it had

	// The bucket. A request over a limit is answered 503, and repeated.
	Latency    float64
	ReadLimit  float64 // GET a second; 0: none
	WriteLimit float64 // PUT and LIST a second; 0: none
	FromBucket bool    // images are read from it too, a GET each
	ImageLimit float64 // of those a second, which lie under prefixes of their own; 0: none

	// The broker, and the process that submits.
	Served  float64 // messages a second that the broker takes and gives
	Publish float64 // tasks a second that go on the queue
	Freeze  float64 // of an image, in listing and freezing it
	Learn   float64 // of an image, in reading what has become of it
}

// Requests are those to the bucket; of HEAD too, as GET.
type Requests struct{ Put, Get, List int }

// Add counts others too.
func (r *Requests) Add(o Requests) { r.Put, r.Get, r.List = r.Put+o.Put, r.Get+o.Get, r.List+o.List }

// Result is what has come of it.
type Result struct {
	Tasks   int
	Done    int // with a record
	GivenUp int

	Frozen   float64 // when the first task was on the queue
	Worked   float64 // when the last record was written
	Makespan float64 // when the submitting process knew that all is done
	Paid     float64 // seconds of workers that are there, from Frozen on

	Encoded int     // images, those of a task that was done again too
	Doubled int     // tasks that were encoded to the end though another worker has written their record
	Wasted  float64 // seconds of workers in tasks that they did not end
	Deaths  int     // of workers
	Rounds  int     // of queueing
	Looks   int     // of the submitting process at the bucket
	Longest float64 // of these

	Requests  Requests
	OfLooks   Requests // among these, those with which the submitting process looks
	OfStart   Requests // and those of whoever starts
	OfImages  int      // GET of images, beside them
	Throttled int      // answers 503, beside them

	Published, Delivered, Acknowledged, Beats, Polls, Starts int // messages
	Stored                                                   int // tasks on the queue at once
	Busiest                                                  int // messages in ten seconds
}

// Size is how many images are in a task.
func (p Plan) Size() int {
	n := max(1, min(p.TaskImages, RowBytes/(4*max(1, p.Dim))))
	if p.ImageBytes > 0 {
		n = min(n, max(1, int(math.Ceil(TaskBytes/p.ImageBytes))))
	}
	return n
}

// Messages are those to the broker and those from it. A task is published and that confirmed, asked for and delivered,
// acknowledged and that confirmed; one that is given up is not confirmed, nor is a heart-beat. A poll in vain is asked
// for and ended; every ten seconds stream and consumer are asked for, as by a worker that starts. A look asks for the
// stream twice. What a worker says of itself, after a task and every ten seconds, is heard by who submits.
func (r Result) Messages() (in, out int) {
	out = r.Published + 2*r.Delivered + r.Beats + r.Acknowledged + r.Polls + 2*(r.Polls/5) + 2*r.Starts + 2*r.Looks
	return out + r.Beats + r.GivenUp, out
}

// Objects are those that the job leaves in the bucket: lists, records, blocks with their indexes, the job and its
// model.
func (r Result) Objects(views int) int { return r.Tasks + r.Done*(1+2*views) + r.GivenUp + 2 }

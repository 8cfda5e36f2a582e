package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/vitft/vitft/engine/safetensors"
	"github.com/vitft/vitft/engine/work"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
)

// chaos is two jobs at once, done by six workers that reach a queue of three servers and a bucket over links, while all
// of these fail. The last two workers and the last server are on the far side of the network.
type chaos struct {
	t      *testing.T
	random *rand.Rand    // of the disasters
	long   bool          // rather than CI's short form
	hold   time.Duration // how long a disaster lasts
	await  time.Duration // how long the next one waits for work to go on

	queue    *cluster
	s3       *testkit.S3Server
	front    *front
	across   []*link // between the sides
	workers  []*oneMachine
	submits  []*oneMachine
	disks    map[string]bool // those that can be filled
	patience time.Duration

	steps, all atomic.Int64 // kills and disasters: done, and to come in all
	mu         sync.Mutex
	records    map[string]bool // that were let into the bucket
	tasks      int
}

// disasters are what happens beside kills, for some time, one after the other. What it returns is put in order again.
var disasters = []struct {
	name  string
	short bool // also in the short form
	do    func(*chaos) (mend func())
}{
	{"a server of the queue is killed", true, func(c *chaos) func() {
		i := c.random.IntN(3)
		c.queue.kill(i)
		return func() { c.queue.start(c.t, i) }
	}},
	{"the bucket's server is killed", false, func(c *chaos) func() {
		c.s3.Kill()
		return func() { c.s3.Start(c.t) }
	}},
	{"a server of the queue and two workers are cut from the rest", true, func(c *chaos) func() {
		c.front.far.Store(true)
		heal := cutAll(append(c.queue.around(2), c.across...)...)
		return func() {
			c.front.far.Store(false)
			heal()
		}
	}},
	{"a server of the queue is cut from the others, not from workers", false, func(c *chaos) func() {
		return cutAll(c.queue.around(c.random.IntN(3))...)
	}},
	{"the stream is deleted", true, func(c *chaos) func() {
		if err := c.queue.with(c.t.Context(), func(ctx context.Context, js jetstream.JetStream) error {
			return js.DeleteStream(ctx, "VITFT")
		}); err != nil {
			c.t.Logf("the stream is not deleted: %v", err)
		}
		return func() {}
	}},
	{"tasks come twice, and what is none", true, func(c *chaos) func() {
		if err := c.queue.with(c.t.Context(), twice); err != nil {
			c.t.Logf("no task comes twice: %v", err)
		}
		return func() {}
	}},
	{"a worker stalls for longer than the patience", true, func(c *chaos) func() {
		w := c.worker()
		w.signal(syscall.SIGSTOP)
		time.Sleep(c.patience)
		return func() { w.signal(syscall.SIGCONT) }
	}},
	{"a worker is told to stop", false, func(c *chaos) func() {
		c.worker().signal(syscall.SIGTERM)
		return func() {}
	}},
	{"who submits is killed", true, func(c *chaos) func() {
		c.submits[c.random.IntN(2)].signal(syscall.SIGKILL)
		return func() {}
	}},
	{"the bucket answers 503", true, func(c *chaos) func() { return c.bucket("busy") }},
	{"the bucket answers slowly", false, func(c *chaos) func() { return c.bucket("slow") }},
	{"answers of the bucket are lost", false, func(c *chaos) func() { return c.bucket("lost") }},
	{"the disk of a worker is full", true, func(c *chaos) func() { return c.full(c.workers[0].cache) }},
	{"the disk of who submits is full", false, func(c *chaos) func() { return c.full(c.submits[0].cache) }},
	{"the disk of the bucket is full", false, func(c *chaos) func() { return c.full(c.s3.Folder) }},
	{"the disk of a server of the queue is full", false, func(c *chaos) func() {
		free := c.full(c.queue.nodes[1].Store)
		return func() {
			free()
			c.queue.kill(1)
			c.queue.start(c.t, 1)
		}
	}},
}

func (c *chaos) worker() *oneMachine { return c.workers[c.random.IntN(len(c.workers))] }

func (c *chaos) bucket(mode string) (mend func()) {
	c.front.mode.Store(mode)
	return func() { c.front.mode.Store("") }
}

func (c *chaos) full(folder string) (free func()) {
	if !c.disks[folder] {
		return func() {}
	}
	return fill(c.t, folder)
}

// twice publishes the last task of the stream once more, and what is no task.
func twice(ctx context.Context, js jetstream.JetStream) error {
	stream, err := js.Stream(ctx, "VITFT")
	if err != nil {
		return err
	}
	info, err := stream.Info(ctx)
	if err != nil {
		return err
	}
	task, err := stream.GetMsg(ctx, info.State.LastSeq)
	if err != nil {
		return err
	}
	for _, data := range [][]byte{task.Data, []byte("no task"), task.Data} {
		if _, err := js.PublishMsg(ctx, &nats.Msg{Subject: task.Subject, Header: task.Header, Data: data}); err != nil {
			return err
		}
	}
	return nil
}

// Whatever fails, the features of many machines are those of one, to the byte, each once, and the head learned from
// them is the same. VITFT_KILLS says how many workers are killed, VITFT_SEED what happens when.
func TestQueueSurvives(t *testing.T) {
	library := ort.Need(t)
	t.Setenv("VITFT_ORT_LIB", library.Path)
	kills, seed := number(t, "VITFT_KILLS", 12), uint64(number(t, "VITFT_SEED", 1))
	t.Logf("VITFT_KILLS=%d VITFT_SEED=%d", kills, seed)
	c := &chaos{t: t, random: rand.New(rand.NewPCG(seed, 0)), records: map[string]bool{},
		patience: time.Second, hold: 200 * time.Millisecond, await: time.Second}
	rounds, images := 1, 120
	if c.long = kills > 100; c.long {
		c.patience, c.hold, c.await = 2*time.Second, 3*time.Second, 10*time.Second
		rounds, images = kills/40, 8*kills
	}
	c.serve()
	var trains []string
	var wants []learned
	one := t.TempDir()
	for i, n := range []int{images, images / 2} { // of two jobs
		train := testkit.Folder(t, seed+uint64(i), n, n/2)
		for k := range max(2, n/50) { // cannot be decoded
			name := fmt.Sprintf("%03d.jpg", 4*k)
			testkit.WriteFile(t, filepath.Join(train, "class-a", name), fmt.Append(nil, "no ", k, i))
		}
		testkit.Age(t, train)
		trains, wants = append(trains, train), append(wants, learn(t, train, one))
		c.tasks += (n + n/2 + inTask - 1) / inTask
	}
	c.man(trains)

	list := c.schedule(rounds)
	c.all.Store(int64(kills + len(list)))
	ctx, stop := context.WithCancel(t.Context())
	var working, submitting, failing sync.WaitGroup
	for _, m := range c.workers {
		working.Go(func() { m.run(ctx) })
	}
	for _, m := range c.submits {
		submitting.Go(func() { m.run(ctx) })
	}
	begun := time.Now()
	failing.Go(func() { c.kill(ctx, kills, rand.New(rand.NewPCG(seed, 1))) })
	failing.Go(func() { c.devastate(ctx, list) })
	failing.Wait()
	t.Logf("%d kills and %d disasters in %.0f s", kills, len(list), time.Since(begun).Seconds())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		submitting.Wait()
	}()
	select {
	case <-ended:
	case <-time.After(5 * time.Minute):
		t.Errorf("the jobs do not end; %d of %d tasks are done", len(c.records), c.tasks)
	}
	stop()
	working.Wait()
	submitting.Wait()
	t.Logf("the jobs have ended after %.0f s", time.Since(begun).Seconds())
	c.check(one, trains, wants)
}

// inTask is how many images are in a task.
const inTask = 4

// disk is a folder of some megabytes that can be filled.
func (c *chaos) disk() string {
	folder, is := smallDisk(c.t, 64)
	c.disks[folder] = is
	return folder
}

// serve starts the servers. In the long form one of the queue comes late.
func (c *chaos) serve() {
	c.disks = map[string]bool{}
	c.s3 = testkit.StartS3(c.t, "team", c.disk())
	c.front = newFront(c.t, c.s3.Endpoint, c.pass)
	c.queue = newCluster(c.t, [3]string{c.t.TempDir(), c.disk(), c.t.TempDir()})
	if c.long {
		c.queue.kill(2)
	}
}

// man makes six workers ready, and who submits.
func (c *chaos) man(trains []string) {
	var sides [2][]string // the ways to the servers of the queue
	for side := range sides {
		for i, n := range c.queue.nodes {
			l := newLink(c.t, n.Address)
			sides[side] = append(sides[side], l.address)
			if (side == 1) != (i == 2) {
				c.across = append(c.across, l)
			}
		}
	}
	place := func(side int, args ...string) []string {
		return append(args, "--queue", "nats://"+strings.Join(sides[side], ","),
			"--queue-patience", c.patience.String(),
			"--cache", "s3://team/vitft?endpoint="+c.front.servers[side].URL, "--provider", "cpu", "--threads", "1")
	}
	for i := range 6 {
		cache := c.t.TempDir()
		if i == 0 {
			cache = c.disk()
		}
		c.workers = append(c.workers, &oneMachine{t: c.t, name: fmt.Sprint("worker ", i), cache: cache,
			args: place(i/4, "worker"), until: func(int, string) bool { return false }})
	}
	for i, train := range trains {
		cache := c.t.TempDir()
		if i == 0 {
			cache = c.disk()
		}
		c.submits = append(c.submits, &oneMachine{t: c.t, name: fmt.Sprint("submission ", i), cache: cache,
			args: place(0, "encode", "--train", train, "--task-images", strconv.Itoa(inTask),
				"--max-unreadable", "0.1"),
			until: func(code int, said string) bool {
				if code == 0 && !strings.Contains(said, " 0 encoded now") {
					c.t.Errorf("not all was done by workers:\n%s", said)
				}
				return code == 0
			}})
	}
}

// pass lets records of tasks into the bucket as kills and disasters happen, so that the jobs do not end before.
func (c *chaos) pass(record string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.may(len(c.records)) {
		c.records[record] = true
	}
	return c.records[record]
}

// may says whether more than so many records may be in the bucket.
func (c *chaos) may(done int) bool {
	return int64(done)*c.all.Load() <= int64(c.tasks-1)*c.steps.Load()
}

// schedule is the disasters in the order that is drawn.
func (c *chaos) schedule(rounds int) (list []int) {
	for range rounds {
		for _, i := range c.random.Perm(len(disasters)) {
			if c.long || disasters[i].short {
				list = append(list, i)
			}
		}
	}
	return list
}

// kill kills workers.
func (c *chaos) kill(ctx context.Context, kills int, random *rand.Rand) {
	for k := 0; k < kills && ctx.Err() == nil; {
		c.pace()
		time.Sleep(time.Duration(200+random.IntN(900)) * time.Millisecond)
		if c.workers[random.IntN(len(c.workers))].signal(syscall.SIGKILL) {
			k++
			c.steps.Add(1)
		}
	}
}

// devastate lets disasters happen.
func (c *chaos) devastate(ctx context.Context, list []int) {
	for end := time.Now().Add(20 * time.Second); c.done() == 0 && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond) // until work has begun
	}
	for step, i := range list {
		c.pace()
		d := disasters[i]
		mend := d.do(c)
		select {
		case <-time.After(c.hold + time.Duration(c.random.Int64N(int64(c.hold)))):
		case <-ctx.Done():
		}
		mend()
		if c.long && step == 0 {
			c.queue.start(c.t, 2)
		}
		c.steps.Add(1)
		c.t.Logf("%s; %d of %d tasks are done", d.name, c.done(), c.tasks)
	}
}

// pace waits until workers have done what they may, or have had some time for it.
func (c *chaos) pace() {
	for end := time.Now().Add(c.await); time.Now().Before(end) && c.may(c.done()); {
		time.Sleep(20 * time.Millisecond)
	}
}

func (c *chaos) done() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.records)
}

// learned is what comes of a training.
type learned struct{ head, skipped string }

func learn(t *testing.T, train, cache string) learned {
	t.Helper()
	out := filepath.Join(t.TempDir(), "run")
	if code, _, stderr := vitft(t, "finetune", "--quiet", "--train", train, "--epochs", "3", "--cache", cache,
		"--max-unreadable", "0.1", "--out", out); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	text := func(name string) string { return string(testkit.ReadFile(t, out, name)) }
	return learned{text("head.safetensors"), text("skipped.csv")}
}

// check compares what is in the bucket with the cache of one machine.
func (c *chaos) check(one string, trains []string, wants []learned) {
	t := c.t
	want, got, indexed := map[string]string{}, map[string]string{}, map[string]int{}
	each(t, filepath.Join(one, "features"), func(path string) {
		if strings.HasSuffix(path, ".safetensors") {
			if err := rows(path, want); err != nil {
				t.Error(err)
			}
		}
	})
	blocks := map[string]int{}
	var faults []string
	each(t, filepath.Join(c.s3.Folder, "team", "vitft"), func(path string) {
		name := filepath.Base(path)
		switch block, index := strings.CutSuffix(path, ".ids"); {
		case index:
			blocks[block]++
			f := must(safetensors.Read(path))
			ids := must(f.Tensor("ids"))
			for id := range slices.Chunk(ids.Data, 32) {
				indexed[hex.EncodeToString(id)]++
			}
		case strings.HasSuffix(name, ".safetensors"):
			blocks[path]--
			if err := rows(path, got); err != nil {
				t.Error(err)
			}
		case strings.Contains(path, "/done/"):
			var r work.Record
			if err := json.Unmarshal(testkit.ReadFile(t, path), &r); err != nil {
				t.Errorf("%s: %v", path, err)
			}
			var list []work.Image
			given := testkit.ReadFile(t, strings.Replace(path, "/done/", "/tasks/", 1))
			if err := json.Unmarshal(given, &list); err != nil {
				t.Errorf("%s: %v", path, err)
			}
			for i, d := range r.Images {
				if d.Fault != "" {
					faults = append(faults, fmt.Sprintf("train,%s,%s\n", list[i].Path, d.Fault))
				}
			}
		case name == "key.json", name == "identity", name == "job.json", name == "used",
			strings.Contains(path, "/tasks/"), strings.Contains(path, "/models/"),
			strings.Contains(path, "/submitted/"), strings.Contains(path, "/searched/"):
		default:
			t.Errorf("%s is left", path)
		}
	})
	if !maps.Equal(got, want) {
		t.Errorf("%d features in the bucket are not the %d of one machine", len(got), len(want))
	}
	for block, n := range blocks {
		if n != 0 {
			t.Errorf("%s: an index without a block, or a block without one", block)
		}
	}
	for id := range want {
		if n := indexed[id]; n != 1 {
			t.Errorf("%s is in %d indices", id, n)
		}
	}
	if len(indexed) != len(want) {
		t.Errorf("%d images are in indices, not %d", len(indexed), len(want))
	}
	var bad []string
	for i, train := range trains {
		t.Setenv("XDG_CACHE_HOME", t.TempDir())
		if got := learn(t, train, "s3://team/vitft?endpoint="+c.s3.Endpoint); got != wants[i] {
			t.Errorf("job %d: another head, or other bad images, than of the features of one machine: %q, not %q", i,
				got.skipped, wants[i].skipped)
		}
		for line := range strings.Lines(wants[i].skipped) {
			if strings.HasPrefix(line, "train,") {
				bad = append(bad, line)
			}
		}
	}
	slices.Sort(bad)
	slices.Sort(faults)
	if len(bad) == 0 || !slices.Equal(faults, bad) {
		t.Errorf("the records of the tasks have the faults %q, skipped.csv has %q", faults, bad)
	}
	for _, m := range slices.Concat(c.workers, c.submits) {
		t.Setenv("XDG_CACHE_HOME", m.cache)
		if code, _, stderr := vitft(t, "cache", "prune"); code != 0 {
			t.Errorf("%s: %s", m.name, stderr)
		}
		each(t, m.cache, func(path string) {
			if strings.HasPrefix(filepath.Base(path), ".tmp") {
				t.Errorf("%s: %s is left", m.name, path)
			}
		})
	}
}

// each calls do with the files below a folder.
func each(t *testing.T, folder string, do func(path string)) {
	t.Helper()
	if err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			do(path)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

package main

import (
	"fmt"
	"strings"

	"github.com/vitft/vitft/bench/scale/sim"
)

// tables are those of docs/scale.md.
var tables = []struct {
	name string
	make func(inputs) string
}{{"inputs", inputTable}, {"size", sizeTable}, {"tasks", taskTable}, {"faults", faultTable}, {"memory", memoryTable}}

// table is Markdown.
type table strings.Builder

func (t *table) row(cells ...string) {
	b := (*strings.Builder)(t)
	if b.Len() == 0 {
		defer b.WriteString("|" + strings.Repeat("---|", len(cells)) + "\n")
	}
	b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

func (t *table) String() string { return (*strings.Builder)(t).String() }

// plan is a job of ViT-B/16 in a world in which nothing goes wrong, by workers of a kind.
func plan(in inputs, images, workers int, kind string) sim.Plan {
	return sim.Plan{
		Images: images, TaskImages: 512, ImageBytes: in.of("image"), Views: 1, Dim: 768, Workers: workers,
		Rate: in.of(kind), Overhead: in.of("overhead"), Scatter: in.of("scatter"), Startup: in.of("start"),
		Replaced: in.of("replaced"), Latency: in.of("latency"), ReadLimit: in.of("read-limit"),
		WriteLimit: in.of("write-limit"), Served: in.of("messages"), Publish: in.of("queued"),
		Freeze: in.of("freeze"), Learn: in.of("learn"),
	}
}

func inputTable(in inputs) string {
	var t table
	t.row("input", "value", "is")
	for _, part := range []struct {
		name string
		of   map[string]figure
	}{{"measured", in.Measured}, {"assumed", in.Assumed}} {
		for _, name := range sorted(part.of) {
			t.row(name+", "+part.name, fmt.Sprintf("%.4g", part.of[name].Value), part.of[name].From)
		}
	}
	return t.String()
}

// sizeTable is jobs of any size, by any number of workers.
func sizeTable(in inputs) string {
	var t table
	t.row("images", "workers", "images a task", "frozen after", "makespan", "worker hours", "messages/s, busiest 10 s",
		"most tasks queued", "objects", "PUT, LIST", "GET", "$ a million: machines", "requests", "a month")
	for _, images := range []int{1e6, 1e7, 1e8, 1e9} {
		for _, w := range []struct {
			n    int
			kind string
		}{{10, "cores"}, {100, "cores"}, {1000, "cores"}, {100, "h100"}, {1000, "h100"}} {
			p := plan(in, images, w.n, w.kind+"-vit-b")
			if images == 1e9 {
				p.TaskImages = 4096
			}
			r := sim.Run(p, 1)
			millions := float64(images) / 1e6
			// A row and its id, the id once more in the index, and the entries in list and record.
			stored := float64(4*p.Dim*p.Views+64*p.Views) + in.of("list-entry") + in.of("record-entry")
			who := map[string]string{"cores": "%d × 16 cores", "h100": "%d H100"}[w.kind]
			t.row(power(images), fmt.Sprintf(who, w.n), fmt.Sprint(p.Size()), span(r.Frozen), span(r.Makespan),
				amount(r.Paid/3600), amount(float64(r.Busiest)/10), amount(float64(r.Stored)),
				amount(float64(r.Objects(p.Views))),
				amount(float64(r.Requests.Put+r.Requests.List)), amount(float64(r.Requests.Get)),
				cents(r.Paid/3600*in.of(w.kind+"-hour")/millions), cents(requestPrice(in, r)/millions),
				cents(stored*1e-3*in.of("month-price")))
		}
	}
	return t.String()
}

func requestPrice(in inputs, r sim.Result) float64 {
	return float64(r.Requests.Put+r.Requests.List)*in.of("put-price") +
		float64(r.Requests.Get+r.OfImages)*in.of("get-price")
}

// taskTable is what the size of tasks does, where workers are fast, and where they are slow.
func taskTable(in inputs) string {
	var t table
	t.row("images a task", "backbone, worker", "seconds a task", "frozen after", "makespan", "of what workers could do",
		"messages/s, busiest 10 s", "503", "tasks given out again", "worker hours lost")
	for _, of := range []string{"h100-vit-tiny", "h100-vit-b", "cores-vit-b"} {
		for _, size := range []int{128, 512, 2048} {
			p := plan(in, 1e7, 100, of)
			p.TaskImages, p.Preempted = size, 0.1
			r := sim.Run(p, 1)
			ideal := float64(p.Images) / p.Rate / float64(p.Workers)
			t.row(fmt.Sprint(p.Size()), of, fmt.Sprintf("%.2g", float64(p.Size())/p.Rate), span(r.Frozen),
				span(r.Makespan), fmt.Sprintf("%.2f", ideal/(r.Makespan-r.Frozen)), amount(float64(r.Busiest)/10),
				amount(float64(r.Throttled)), amount(float64(r.Delivered-r.Tasks)), amount(r.Wasted/3600))
		}
	}
	return t.String()
}

// faultTable is what goes wrong.
func faultTable(in inputs) string {
	var t table
	t.row("what", "makespan", "times", "deaths", "tasks given out again", "worker hours lost", "tasks encoded twice",
		"503", "tasks given up", "rounds")
	base := 0.0
	for _, c := range []struct {
		what   string
		change func(*sim.Plan)
	}{
		{"nothing", func(*sim.Plan) {}},
		{"a worker dies every 10 hours, unwarned", func(p *sim.Plan) { p.Preempted = 0.1 }},
		{"every hour", func(p *sim.Plan) { p.Preempted = 1 }},
		{"every hour, warned", func(p *sim.Plan) { p.Preempted, p.Warned = 1, 1 }},
		{"every six minutes", func(p *sim.Plan) { p.Preempted = 10 }},
		{"5 % of workers take four times as long", func(p *sim.Plan) { p.Slow, p.SlowTimes = 0.05, 4 }},
		{"5 % take a hundred times as long", func(p *sim.Plan) { p.Slow, p.SlowTimes = 0.05, 100 }},
		{"one task in 10,000 kills its worker", func(p *sim.Plan) { p.Deadly = 1e-4 }},
		{"the broker is away for a minute", func(p *sim.Plan) { p.Restart, p.Outage = 1800, 60 }},
		{"and comes back empty", func(p *sim.Plan) { p.Restart, p.Outage, p.Lost = 1800, 60, true }},
		{"the bucket takes 100 PUT and LIST a second", func(p *sim.Plan) { p.WriteLimit = 100 }},
		{"photos from one prefix, 5,500 GET a second", func(p *sim.Plan) {
			p.FromBucket, p.ImageLimit = true, in.of("read-limit")
		}},
		{"all of the hourly and the empty broker", func(p *sim.Plan) {
			p.Preempted, p.Slow, p.SlowTimes, p.Deadly = 1, 0.05, 4, 1e-4
			p.Restart, p.Outage, p.Lost = 1800, 60, true
		}},
	} {
		p := plan(in, 1e8, 1000, "cores-vit-b")
		p.TaskImages = 1024
		c.change(&p)
		r := sim.Run(p, 1)
		if base == 0 {
			base = r.Makespan
		}
		t.row(c.what, span(r.Makespan), fmt.Sprintf("%.2f", r.Makespan/base), amount(float64(r.Deaths)),
			amount(float64(r.Delivered-r.Tasks)), amount(r.Wasted/3600), amount(float64(r.Doubled)),
			amount(float64(r.Throttled)), amount(float64(r.GivenUp)), fmt.Sprint(r.Rounds))
	}
	return t.String()
}

// memoryTable is what grows with the images, and where.
func memoryTable(in inputs) string {
	var t table
	t.row("images", "submitting process, frozen", "known", "tasks of 512", "job.json", "queue, stored; in memory",
		"`.ids` to fetch", "their requests, 32 at a time", "index of the store, one view", "features, 768 values")
	for _, images := range []int{1e6, 1e7, 1e8, 1e9} {
		n := float64(images)
		tasks := n / 512
		t.row(power(images), size(n*in.of("frozen")), size(n*in.of("known")), amount(tasks), size(tasks*67),
			size(tasks*in.of("stored"))+", "+size(tasks*in.of("in-memory")), size(n*32),
			span(tasks/32*in.of("latency")), size(n*in.of("key")),
			size(n*4*768))
	}
	return t.String()
}

package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/vitft/vitft/bench/scale/sim"
	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/feature"
	_ "github.com/vitft/vitft/engine/feature/bucket/cloud"
	"github.com/vitft/vitft/engine/work"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/onnx/vision"
)

// place says to a process of this test that it is a worker: of which cache and queue.
const place, queueURL = "VITFT_SCALE_CACHE", "VITFT_SCALE_QUEUE"

func TestMain(m *testing.M) {
	if cache := os.Getenv(place); cache != "" {
		o := work.WorkerOptions{Queue: work.Queue{URL: os.Getenv(queueURL)}, Features: feature.Options{Cache: cache},
			Device: device.Options{Provider: "cpu", Threads: 1}}
		fmt.Fprintln(os.Stderr, work.Serve(context.Background(), o, event.Events{}))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// real is a job that is done in earnest: by worker processes, a NATS server in this one and an S3 server, whose
// requests are counted on their way.
type real struct {
	t     testing.TB
	onnx  string // library, which is found in the cache folder of this process, not of the job's
	nats  *server.Server
	cache string

	mu       sync.Mutex
	requests map[string]int // by method and kind of object
}

func newReal(t testing.TB) *real {
	r := &real{t: t, onnx: ort.Need(t).Path, requests: map[string]int{}}
	behind, err := url.Parse(testkit.S3(t, "team"))
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(behind)
		p.Out.Host = p.In.Host // which the signature is of
	}}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		r.requests[kind(q)]++
		r.mu.Unlock()
		proxy.ServeHTTP(w, q)
	}))
	t.Cleanup(front.Close)
	r.cache = "s3://team/x?endpoint=" + front.URL

	r.nats, err = server.NewServer(&server.Options{Host: "127.0.0.1", Port: free(t), JetStream: true,
		StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	r.nats.Start()
	t.Cleanup(r.nats.Shutdown)
	if !r.nats.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	return r
}

func free(t testing.TB) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

var task = regexp.MustCompile(`/(task-[0-9a-f]+-)?[0-9]{6}([./]|$)`)

// kind is the method of a request and which kind of object it is about.
func kind(q *http.Request) string {
	name, method := strings.TrimPrefix(q.URL.Path, "/team"), q.Method
	if prefix := q.URL.Query().Get("prefix"); q.URL.Query().Has("list-type") {
		name, method = "/"+prefix, "LIST"
	}
	one := task.MatchString(name)
	of := "other"
	for part, what := range map[string]string{"/tasks/": "list", "/done/": "record", "/failed/": "failure",
		"/task-": "block"} {
		if strings.Contains(name, part) {
			of = what
		}
	}
	if strings.HasSuffix(name, ".ids") {
		of = "index"
	}
	if of != "other" && method == "LIST" && !one {
		of += "s"
	}
	return method + " " + of
}

// worker starts a process that works until it is killed.
func (r *real) worker() *exec.Cmd {
	r.t.Helper()
	self, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	w := exec.Command(self)
	w.Env = append(os.Environ(), place+"="+r.cache, queueURL+"="+r.nats.ClientURL(),
		"XDG_CACHE_HOME="+r.t.TempDir(), "VITFT_ORT_LIB="+r.onnx)
	if err := w.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		w.Process.Kill()
		w.Wait()
	})
	return w
}

// submit has a folder of images encoded by workers that are there, and says how long that took from the moment that the
// tasks were queued.
func (r *real) submit(images string, of *backbone.Backbone, size, views int) time.Duration {
	r.t.Helper()
	set, _, err := dataset.Open(images, dataset.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	defer r.t.Setenv("XDG_CACHE_HOME", os.Getenv("XDG_CACHE_HOME"))
	r.t.Setenv("XDG_CACHE_HOME", r.t.TempDir())
	x, err := feature.Open(r.t.Context(), of, vision.Views(views), feature.Options{Cache: r.cache}, event.Events{})
	if err != nil {
		r.t.Fatal(err)
	}
	defer x.Close()
	var begun time.Time
	ev := event.Events{Note: func(_ event.Level, message string, _ ...any) {
		if message == "job submitted" {
			begun = time.Now()
		}
	}}
	err = work.Submit(r.t.Context(), work.Submission{Images: &dataset.Sets{Train: set}, Backbone: of, Features: x,
		Views: views, TaskImages: size}, work.Queue{URL: r.nats.ClientURL()}, ev)
	if err != nil {
		r.t.Fatal(err)
	}
	return time.Since(begun)
}

// tasks are how many were published, given out and acknowledged.
func (r *real) tasks() (published, delivered, acknowledged int) {
	info := r.jetstream()
	if len(info.AccountDetails) == 0 || len(info.AccountDetails[0].Streams) == 0 {
		r.t.Fatal("there is no stream")
	}
	s := info.AccountDetails[0].Streams[0]
	c := s.Consumer[0]
	return int(s.State.LastSeq), int(c.Delivered.Consumer), int(s.State.LastSeq) - int(s.State.Msgs)
}

func (r *real) jetstream() *server.JSInfo {
	info, err := r.nats.Jsz(&server.JSzOptions{Accounts: true, Streams: true, Consumer: true})
	if err != nil {
		r.t.Fatal(err)
	}
	return info
}

func micro(t testing.TB) *backbone.Backbone {
	of, err := backbone.Open(backbone.Options{}, device.Options{Provider: "cpu"}, event.Events{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { of.Close() })
	return of
}

// A job in earnest has the messages of tasks and the requests that the simulation says, to the last one.
func TestAsSimulated(t *testing.T) {
	r := newReal(t)
	const tasks, views, workers = 40, 2, 2
	images := testkit.Folder(t, 1, 60, 60)
	testkit.Age(t, images)
	for range workers {
		r.worker()
	}
	r.submit(images, micro(t), 3, views)
	want := sim.Run(sim.Plan{Images: 120, TaskImages: 3, Views: views, Dim: 192, Workers: workers, Rate: 100}, 1)
	if want.Tasks != tasks || want.Deaths+want.Beats != 0 {
		t.Fatalf("simulated: %+v", want)
	}
	if p, d, a := r.tasks(); p != want.Published || d != want.Delivered || a != want.Acknowledged {
		t.Errorf("%d tasks were published, %d given out, %d acknowledged; in the simulation %d, %d, %d", p, d, a,
			want.Published, want.Delivered, want.Acknowledged)
	}

	got := r.requests
	looks := got["LIST failures"]
	own := sim.Requests{Put: got["PUT list"] + got["PUT block"] + got["PUT index"] + got["PUT record"],
		Get: got["GET list"], List: got["LIST record"] + got["LIST records"] - looks} // as a look lists, too
	sum := own
	sum.Add(want.OfLooks)
	sum.Add(want.OfStart)
	if sum != want.Requests || got["GET record"] != want.OfLooks.Get {
		t.Errorf("requests of tasks are %+v, of which the simulation has, with others, %+v; by kind: %v", own, want,
			got)
	}
	t.Log("those of whoever starts are", want.OfStart, "in the simulation; by kind:", got)
}

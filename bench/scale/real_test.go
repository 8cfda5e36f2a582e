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

// real is a job that is done in earnest: by worker processes, a NATS server in this one and an S3 server, whose requests
// are counted on their way.
type real struct {
	t     testing.TB
	nats  *server.Server
	cache string

	mu       sync.Mutex
	requests map[string]int // by method and kind of object
}

func newReal(t testing.TB) *real {
	ort.Need(t)
	r := &real{t: t, requests: map[string]int{}}
	behind, err := url.Parse(testkit.S3(t, "team"))
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(behind)
	rewrite := proxy.Director
	proxy.Director = func(q *http.Request) { // the signature is of the host that was asked
		host := q.Host
		rewrite(q)
		q.Host = host
	}
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

var task = regexp.MustCompile(`/(task-[0-9a-f]+-)?[0-9]{6}`)

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
		"XDG_CACHE_HOME="+r.t.TempDir(), "VITFT_ORT_LIB="+ort.Need(r.t).Path)
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
	r.t.Setenv("XDG_CACHE_HOME", r.t.TempDir())
	x, err := feature.Open(r.t.Context(), of, vision.Views(views), feature.Options{Cache: r.cache}, event.Events{})
	if err != nil {
		r.t.Fatal(err)
	}
	defer x.Close()
	var begun time.Time
	ev := event.Events{Note: func(_ event.Level, message string, _ ...any) {
		if message == "job" {
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

// messages are those to the broker and from it, and how often it was asked for streams and consumers.
func (r *real) messages() (in, out, api int) {
	v, err := r.nats.Varz(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return int(v.InMsgs), int(v.OutMsgs), int(r.jetstream().API.Total)
}

func (r *real) jetstream() *server.JSInfo {
	info, err := r.nats.Jsz(nil)
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

// A job in earnest takes the messages and the requests that the simulation says, to the last one, of as many looks and
// polls as there were.
func TestAsSimulated(t *testing.T) {
	r := newReal(t)
	const tasks, views, workers = 40, 2, 2
	images := testkit.Folder(t, 1, 60, 60)
	testkit.Age(t, images)
	in, out, api := r.messages()
	for range workers {
		r.worker()
		for r.jetstream().Consumers == 0 { // several would make stream and consumer, of which one succeeds
			time.Sleep(20 * time.Millisecond)
		}
	}
	r.submit(images, micro(t), 3, views)
	want := sim.Run(sim.Plan{Images: 120, TaskImages: 3, Views: views, Dim: 192, Workers: workers, Rate: 100}, 1)
	if want.Tasks != tasks || want.Published != tasks || want.Delivered != tasks || want.Acknowledged != tasks {
		t.Errorf("simulated: %+v", want)
	}

	got := r.requests
	want.Looks = got["LIST failures"]
	in1, out1, api1 := r.messages()
	want.Polls = (api1 - api - 2*workers - 2*(want.Looks-1) - 2) / 2
	if i, o := want.Messages(); in1-in != i || out1-out != o {
		t.Errorf("%d messages to the broker and %d from it, in the simulation %d and %d", in1-in, out1-out, i, o)
	}
	sums := map[string]int{}
	for kind, n := range got {
		method, of, _ := strings.Cut(kind, " ")
		if method == "HEAD" {
			method = "GET"
		}
		switch {
		case of == "record" && method == "GET", of == "blocks", of == "failures", method == "LIST" && of == "block":
			// are looks of the submitting process
		default:
			sums[method] += n
		}
	}
	own := sim.Requests{Put: want.Requests.Put, Get: want.Requests.Get - want.OfLooks.Get,
		List: want.Requests.List - want.OfLooks.List + want.Looks} // in which it lists a thousand records, or a last one
	if is := (sim.Requests{Put: sums["PUT"], Get: sums["GET"], List: sums["LIST"]}); is != own {
		t.Errorf("requests are %+v, in the simulation %+v; by kind: %v", is, own, got)
	}
	if got["GET record"] != tasks || want.OfLooks.Get != tasks {
		t.Errorf("%d records were read, in the simulation %d", got["GET record"], want.OfLooks.Get)
	}
}

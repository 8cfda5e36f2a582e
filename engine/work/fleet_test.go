package work

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/vision"
)

// workerVariable has the test program be a worker.
const workerVariable = "VITFT_TEST_WORKER"

// process is a worker as a process of its own.
type process struct {
	URL, Cache, Metrics string
	Threads, Processors int
	Quiet               bool
	Patience            time.Duration
	Poison              string // an image that ends whoever encodes it
	Images              string // a folder that it submits on an embedded queue, in place of being a worker
}

func TestMain(m *testing.M) {
	text := os.Getenv(workerVariable)
	if text == "" {
		os.Exit(m.Run())
	}
	var p process
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		panic(err)
	}
	if p.Processors > 0 {
		runtime.GOMAXPROCS(p.Processors)
	}
	beforeEncoding = func(set *dataset.Dataset) {
		for _, it := range set.Items {
			if it.Path == p.Poison {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		}
	}
	note := event.Events{Note: func(_ event.Level, message string, kv ...any) {
		fmt.Fprintln(os.Stderr, append([]any{message}, kv...)...)
	}}
	if p.Images != "" {
		if err := p.submit(note); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	o := WorkerOptions{Queue: Queue{URL: p.URL, Patience: p.Patience}, Features: feature.Options{Cache: p.Cache},
		Device: device.Options{Provider: "cpu", Threads: p.Threads}, Metrics: p.Metrics}
	fmt.Fprintln(os.Stderr, Serve(context.Background(), o, note))
	os.Exit(1)
}

func (p process) submit(ev event.Events) error {
	of, err := backbone.Open(backbone.Options{}, device.Options{Provider: "cpu"}, event.Events{})
	if err != nil {
		return err
	}
	set, _, err := dataset.Open(p.Images, dataset.Options{})
	if err != nil {
		return err
	}
	ctx := context.Background()
	x, err := feature.Open(ctx, of, vision.Views(2), feature.Options{Cache: p.Cache, Batch: 4}, event.Events{})
	if err != nil {
		return err
	}
	return Submit(ctx, Submission{Images: &dataset.Sets{Train: set}, Backbone: of, Features: x, Views: 2,
		TaskImages: 5}, Queue{URL: Embedded}, ev)
}

func (p process) start(t testing.TB) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), workerVariable+"="+string(encoded(p)))
	if testing.Verbose() && !p.Quiet {
		cmd.Stderr = os.Stderr
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// An image that ends whoever reads it is found, and named; all others are encoded, also those of its task.
func TestPoison(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	queue := newServer(t, &server.Options{})
	q := queue.queue()
	q.Patience = time.Second
	poison := s.set.Items[7].Path
	ctx, cancel := context.WithCancel(t.Context())
	deaths := make(chan int)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			w := process{URL: q.URL, Cache: s.cache, Patience: q.Patience, Poison: poison}.start(t)
			stop := context.AfterFunc(ctx, func() { _ = w.Process.Kill() })
			_ = w.Wait()
			stop()
		}
		deaths <- n - 1
	}()
	x, err := s.submit(t.Context(), q)
	if err != nil {
		t.Error(err)
	}
	status, failed := ReadStatus(t.Context(), StatusOptions{Queue: q, Features: feature.Options{Cache: s.cache}})
	cancel()
	if n := <-deaths; n > 8 {
		t.Errorf("%d workers have died of it", n)
	}
	if failed != nil || len(status.Jobs) != 1 || len(status.Jobs[0].Bad) != 1 ||
		status.Jobs[0].Bad[0].Path != poison || !strings.Contains(status.Jobs[0].Bad[0].Reason, "dies") {
		t.Errorf("%+v, %v", status, failed)
	}
	if n := s.notes("bad1"); n == 0 {
		t.Error("it is not said that an image is bad")
	}
	if err := x.Reopen(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, _ := x.Ensure(t.Context(), "train", s.set, 2) // which says that too many are bad
	if got == nil {
		t.Fatal("no set")
	}
	if got.Encoded != 0 || len(got.Unreadable) != 1 || got.Unreadable[0].Path != poison {
		t.Errorf("%d are encoded, %v are not", got.Encoded, got.Unreadable)
	}
}

// So is one that ends the process that submits, whose queue ends with it: the same command gets further each time, and
// in the end through. One that was merely killed gets through at once, and leaves no marks.
func TestPoisonEndsWhoSubmits(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	p := process{Cache: s.cache, Images: s.images, Poison: s.set.Items[7].Path}
	tries := 1
	for ; p.start(t).Wait() != nil; tries++ {
		if tries == 8 {
			t.Fatal("it does not end")
		}
	}
	if tries < 4 {
		t.Errorf("it ends at try %d: the image has not ended it", tries)
	}
	status, err := ReadStatus(t.Context(), StatusOptions{Features: feature.Options{Cache: s.cache}})
	if err != nil || status.Jobs[0].Images.Done != 12 || len(status.Jobs[0].Bad) != 1 ||
		status.Jobs[0].Bad[0].Path != p.Poison || !strings.Contains(status.Jobs[0].Bad[0].Reason, "dies") {
		t.Errorf("%+v, %v", status, err)
	}
	if left := s.files("jobs/*/" + begun + "/*"); len(left) != 0 {
		t.Errorf("left are %q", left)
	}
	// One was stopped after it had recorded a task: its mark is left, and nobody has the task in hand again.
	last := fmt.Sprintf("%06d", len(s.files("jobs/*/"+records+"/*"))-1)
	testkit.WriteFile(t, filepath.Join(s.cache, "jobs", status.Jobs[0].Job, begun, last+"-0"), nil)
	for _, name := range append(s.files("jobs/*/"+records+"/000000.json"),
		s.files("features/*/task-*-000000.safetensors")...) {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.start(t).Wait(); err != nil {
		t.Error(err)
	}
	if left := s.files("jobs/*/" + begun + "/*"); len(left) != 0 {
		t.Errorf("left in the end are %q", left)
	}
}

// A worker's figures are what it did, in the form that Prometheus reads; it is ready while the queue is there.
func TestMetrics(t *testing.T) {
	s := newStage(t)
	bad := testkit.WriteFile(t, filepath.Join(filepath.Dir(s.set.Items[0].Path), "bad.png"), []byte("no image"))
	testkit.Age(t, s.images)
	var err error
	if s.set, _, err = dataset.Open(s.images, dataset.Options{}); err != nil {
		t.Fatal(err)
	}
	queue := newServer(t, &server.Options{})
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	w := process{URL: queue.queue().URL, Cache: s.cache, Patience: 2 * time.Second, Metrics: address}.start(t)
	defer func() { _ = w.Process.Kill(); _ = w.Wait() }()
	if _, err := s.submit(t.Context(), queue.queue()); err != nil {
		t.Error(err)
	}
	get := func(path string) (int, string) {
		answer, err := http.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(text)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if code, text := get(path); code != http.StatusOK {
			t.Errorf("%s: %d %s", path, code, text)
		}
	}
	_, text := get("/metrics")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	value := func(name, label string) float64 {
		for _, m := range families[name].GetMetric() {
			if label == "" || len(m.Label) > 0 && m.Label[0].GetValue() == label {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
		t.Errorf("no %s of %q", name, label)
		return 0
	}
	var bytes float64
	for _, it := range s.set.Items {
		info, err := os.Stat(it.Path)
		if err != nil {
			t.Fatal(err)
		}
		bytes += float64(info.Size())
	}
	for name, want := range map[[2]string]float64{
		{"vitft_worker_tasks_total", "done"}:     3,
		{"vitft_worker_tasks_total", "given_up"}: 0,
		{"vitft_worker_images_total", "encoded"}: 12,
		{"vitft_worker_images_total", "bad"}:     1,
		{"vitft_worker_image_bytes_total", ""}:   bytes,
		{"vitft_worker_task_seconds", "read"}:    3,
		{"vitft_worker_task_seconds", "encode"}:  3,
		{"vitft_worker_task_seconds", "publish"}: 3,
		{"vitft_worker_tasks_in_flight", ""}:     0,
		{"vitft_worker_redeliveries_total", ""}:  0,
		{"vitft_worker_ready", ""}:               1,
	} {
		if got := value(name[0], name[1]); got != want {
			t.Errorf("%v is %v, not %v", name, got, want)
		}
	}
	beat := value("vitft_worker_heartbeat_timestamp_seconds", "")
	if time.Since(time.Unix(int64(beat), 0)) > time.Minute {
		t.Errorf("the last heartbeat was %v", beat)
	}
	if kind := families["vitft_worker_task_seconds"].GetType().String(); kind != "HISTOGRAM" {
		t.Error(kind)
	}
	docs := string(testkit.ReadFile(t, "..", "..", "docs", "machines.md"))
	for name := range families {
		if strings.HasPrefix(name, "vitft_") && !strings.Contains(docs, "`"+name) {
			t.Errorf("docs/machines.md does not have %s", name)
		}
	}
	if s.notes(bad) == 0 {
		t.Error("the bad image is not named")
	}
	queue.stop()
	for range 100 {
		if code, _ := get("/readyz"); code == http.StatusServiceUnavailable {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Error("it is ready without a queue")
}

// What is done is known from the bucket alone; the queue adds who works. A worker that can do no task of one job does
// those of others.
func TestStatus(t *testing.T) {
	s := newStage(t)
	queue := newServer(t, &server.Options{})
	o := StatusOptions{Features: feature.Options{Cache: s.cache}}
	if status, err := ReadStatus(t.Context(), o); err != nil || len(status.Jobs) != 0 {
		t.Errorf("of no job: %+v, %v", status, err)
	}
	foreign := s.foreignJob(t, func(j *Job) { j.Keys[0].Provider = "cuda" })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(ctx, WorkerOptions{Queue: queue.queue(), Features: feature.Options{Cache: s.cache + "/../" +
			filepath.Base(s.cache) + "/"}, Device: device.Options{Provider: "cpu"}}, s.events())
	}()
	s.queueForeign(t, queue, foreign)
	if _, err := s.submit(t.Context(), queue.queue()); err != nil {
		t.Error(err)
	}
	o.Queue = queue.queue()
	status, err := ReadStatus(t.Context(), o)
	if err != nil || len(status.Jobs) != 2 || len(status.Workers) != 1 {
		t.Fatalf("%+v, %v", status, err)
	}
	j := status.Jobs[0]
	if j.Tasks.Done != 3 || j.Images.Done != 12 || *j.Tasks.Waiting != 0 || j.Submitted.IsZero() || j.By == "" {
		t.Errorf("%+v", j)
	}
	if j := status.Jobs[1]; j.Job != foreign || *j.Tasks.InWork+*j.Tasks.Waiting != 1 {
		t.Errorf("%+v", j)
	}
	if w := status.Workers[0]; !w.Answers || w.Tasks != 3 || w.Images != 12 || w.Since.IsZero() || w.Rate <= 0 {
		t.Errorf("%+v", w)
	}
	if n := s.notes("can do no task of a job"); n != 1 {
		t.Errorf("that it cannot do a job is said %d times", n)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	queue.stop()
	status, err = ReadStatus(t.Context(), o)
	if err == nil || status == nil || status.Jobs[0].Tasks.Done != 3 || status.Jobs[0].Tasks.Waiting != nil {
		t.Errorf("without the queue: %+v, %v", status, err)
	}
	testkit.WriteFile(t, filepath.Join(s.cache, "jobs", foreign, jobObject), []byte("{"))
	testkit.WriteFile(t, s.files("jobs/" + status.Jobs[0].Job + "/done/000001.json")[0], []byte("{"))
	o.Queue = Queue{}
	status, err = ReadStatus(t.Context(), o)
	if err != nil || status.Jobs[1].Fault == "" || status.Jobs[0].Tasks.Done != 2 {
		t.Errorf("with damaged parts: %+v, %v", status, err)
	}
	if n := len(s.files("jobs/*/*.corrupt")) + len(s.files("jobs/*/done/*.corrupt")); n != 0 {
		t.Errorf("looking has set %d objects aside", n)
	}
	o.Job = "ffffffffffffffff"
	if _, err := ReadStatus(t.Context(), o); err == nil {
		t.Error("of a job that there is not")
	}
}

// A worker with another version of the runtime library than the submitting machine does none of its tasks, and says
// which version does, unless the job is for any.
func TestLibrary(t *testing.T) {
	s := newStage(t)
	queue := newServer(t, &server.Options{})
	serve := func() error {
		return Serve(t.Context(), WorkerOptions{Queue: queue.queue(), Features: feature.Options{Cache: s.cache},
			Device: device.Options{Provider: "cpu"}, Idle: time.Second}, s.events())
	}
	mine, _ := onnx.Loaded()
	s.queueForeign(t, queue, s.foreignJob(t, func(j *Job) {
		if j.Library != mine.Version {
			t.Errorf("the job is for version %q, this is %s", j.Library, mine.Version)
		}
		j.Library = "0.1.2"
	}))
	err := serve()
	if fault.Of(err) != fault.Runtime || !strings.Contains(err.Error(), " 0.1.2, ") ||
		!strings.Contains(err.Error(), " has "+mine.Version+",") || s.notes("can do no task of a job") != 1 {
		t.Error(err)
	}
	s.queueForeign(t, queue, s.foreignJob(t, func(j *Job) { j.Library = "" }))
	if err := serve(); err != nil || s.notes("task donejob") != 1 {
		t.Error(err)
	}
}

// A worker that would make tokens of another graph than the submitting machine does none of them.
func TestTokensOfAnotherGraph(t *testing.T) {
	s := newStage(t)
	sum, err := s.of.Model.Sum()
	if err != nil {
		t.Fatal(err)
	}
	s.of.KeepTokens(sum)
	queue := newServer(t, &server.Options{})
	serve := func(graph string) error {
		s.queueForeign(t, queue, s.foreignJob(t, func(j *Job) { j.Keys[0].Graph, j.Library = graph, "" }))
		return Serve(t.Context(), WorkerOptions{Queue: queue.queue(), Features: feature.Options{Cache: s.cache},
			Device: device.Options{Provider: "cpu"}, Idle: time.Second}, s.events())
	}
	err = serve(strings.Repeat("0", 64))
	if fault.Of(err) != fault.Runtime || !strings.Contains(err.Error(), "this worker makes") {
		t.Error(err)
	}
	if err := serve(sum); err != nil || s.notes("task donejob") != 1 {
		t.Error(err)
	}
}

// foreignJob is one that differs from what this machine submits.
func (s *stage) foreignJob(t *testing.T, differ func(*Job)) string {
	t.Helper()
	x := s.open(t.Context())
	b := &submission{Submission: Submission{Images: &dataset.Sets{Train: s.set}, Backbone: s.of, Features: x, Views: 1,
		TaskImages: 100}, jobs: jobBucket{bucket.Dir(filepath.Join(s.cache, "jobs"))}, name: strings.Repeat("A", 26)}
	if err := b.freeze(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	job := b.job
	differ(&job)
	for name, text := range map[string][]byte{job.Hash() + "/" + jobObject: encoded(job),
		object(job.Hash(), lists, 0): testkit.ReadFile(t, s.cache, "jobs", object(b.hash, lists, 0))} {
		if err := b.jobs.publish(t.Context(), name, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(filepath.Join(s.cache, "jobs", b.hash)); err != nil {
		t.Fatal(err)
	}
	return job.Hash()
}

func (s *stage) queueForeign(t *testing.T, queue *natsServer, hash string) {
	t.Helper()
	jobs, identity, err := openJobs(t.Context(), feature.Options{Cache: s.cache})
	if err != nil {
		t.Fatal(err)
	}
	defer jobs.Close()
	c, err := queue.queue().open(t.Context(), identity, event.Events{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if _, err := c.ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	message := taskMessage(hash, 0, strings.Repeat("A", 26))
	if _, err := c.stream.Publish(t.Context(), c.tasks+"."+hash, message); err != nil {
		t.Fatal(err)
	}
}

package work

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/onnx/vision"
)

// stage is what jobs of a test need.
type stage struct {
	t      *testing.T
	cache  string
	images string
	set    *dataset.Dataset
	of     *backbone.Backbone

	mu   sync.Mutex
	said []string
	told func(said string) // is told of each note
}

func newStage(t *testing.T) *stage {
	t.Helper()
	ort.Need(t)
	s := &stage{t: t, cache: t.TempDir(), images: testkit.Folder(t, 1, 6, 6)}
	testkit.Age(t, s.images)
	var err error
	if s.of, err = backbone.Open(backbone.Options{}, device.Options{Provider: "cpu"}, event.Events{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.of.Close() })
	if s.set, _, err = dataset.Open(s.images, dataset.Options{}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *stage) events() event.Events {
	return event.Events{Note: func(_ event.Level, message string, kv ...any) {
		s.mu.Lock()
		defer s.mu.Unlock()
		text := fmt.Sprint(append([]any{message}, kv...)...)
		s.said = append(s.said, text)
		if s.told != nil {
			s.told(text)
		}
	}}
}

func (s *stage) tell(f func(said string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = f
}

// notes counts those that contain a text, and forgets all.
func (s *stage) notes(text string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := strings.Count(strings.Join(s.said, "\n"), text)
	s.said = nil
	return n
}

func (s *stage) open(ctx context.Context) *feature.Extractor {
	s.t.Helper()
	x, err := feature.Open(ctx, s.of, vision.Views(2), feature.Options{Cache: s.cache, Batch: 4}, event.Events{})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { x.Close() })
	return x
}

func (s *stage) submit(ctx context.Context, q Queue) (*feature.Extractor, error) {
	s.t.Helper()
	x := s.open(context.Background())
	err := Submit(ctx, Submission{Images: &dataset.Sets{Train: s.set}, Backbone: s.of, Features: x, Views: 2,
		TaskImages: 5}, q, s.events())
	return x, err
}

// left is how many images are still to be encoded.
func (s *stage) left(x *feature.Extractor) int {
	s.t.Helper()
	if err := x.Reopen(context.Background()); err != nil {
		s.t.Fatal(err)
	}
	set, err := x.Ensure(context.Background(), "train", s.set, 2)
	if err != nil {
		s.t.Fatal(err)
	}
	return set.Encoded
}

func (s *stage) files(pattern string) []string {
	s.t.Helper()
	names, err := filepath.Glob(filepath.Join(s.cache, filepath.FromSlash(pattern)))
	if err != nil {
		s.t.Fatal(err)
	}
	return names
}

// A job is done once; what is lost or damaged of what it has left is done again, and nothing else.
func TestSubmit(t *testing.T) {
	s := newStage(t)
	submit := func(what string, tasks int) {
		t.Helper()
		x, err := s.submit(t.Context(), Queue{URL: Embedded})
		if n := s.notes("task donejob"); err != nil || n != tasks {
			t.Errorf("%s: %d tasks were done, not %d; %v", what, n, tasks, err)
		}
		if n := s.left(x); n != 0 {
			t.Errorf("%s: %d images were not encoded", what, n)
		}
	}
	submit("at first", 3)
	blocks := s.files("features/*/task-*.safetensors")
	before := map[string][]byte{}
	for _, name := range blocks {
		before[name] = testkit.ReadFile(t, name)
	}
	if len(blocks) != 6 {
		t.Fatalf("%d blocks of 3 tasks in 2 views", len(blocks))
	}
	submit("once more", 0)

	spoil := func(name string) { testkit.WriteFile(t, name, []byte("{")) }
	spoil(s.files("jobs/*/done/000001.json")[0])
	submit("a damaged record", 1)
	if err := os.Remove(blocks[4]); err != nil {
		t.Fatal(err)
	}
	submit("a block of a view that is gone", 1)
	spoil(s.files("jobs/*/job.json")[0])
	spoil(s.files("jobs/*/tasks/000002.json")[0])
	spoil(s.files("jobs/models/*")[0])
	if err := os.Remove(s.files("jobs/*/done/000002.json")[0]); err != nil {
		t.Fatal(err)
	}
	submit("damaged job, list and model", 1)
	for name, content := range before {
		if !bytes.Equal(testkit.ReadFile(t, name), content) {
			t.Errorf("%s is another", name)
		}
	}
}

// A job that is interrupted goes on where it was.
func TestGoesOn(t *testing.T) {
	s := newStage(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.tell(func(said string) {
		if strings.HasPrefix(said, "task donejob") {
			cancel()
		}
	})
	if _, err := s.submit(ctx, Queue{URL: Embedded}); fault.Of(err) != fault.Interrupted {
		t.Errorf("interrupted: %v", err)
	}
	s.tell(nil)
	done := len(s.files("jobs/*/done/*.json"))
	s.notes("")
	if _, err := s.submit(t.Context(), Queue{URL: Embedded}); err != nil {
		t.Error(err)
	}
	if n := s.notes("task donejob"); done == 0 || n != 3-done {
		t.Errorf("%d tasks were done, then %d of 3", done, n)
	}
}

// The scan index learns what a worker has read, unless the file was another by then.
func TestLearns(t *testing.T) {
	s := newStage(t)
	changed, young := s.set.Items[3].Path, s.set.Items[4].Path
	now := time.Now()
	if err := os.Chtimes(young, now, now); err != nil {
		t.Fatal(err)
	}
	other := testkit.ReadFile(t, s.set.Items[7].Path)
	s.tell(func(said string) {
		if strings.HasPrefix(said, "job submittedjob") { // it is frozen
			testkit.WriteFile(t, changed, other)
		}
	})
	x, err := s.submit(t.Context(), Queue{URL: Embedded})
	if err != nil {
		t.Fatal(err)
	}
	if n := s.left(x); n != 0 {
		t.Errorf("%d images were encoded after all", n)
	}
	scan, err := s.set.Scan(t.Context(), dataset.ScanOptions{Index: x.Options().Index})
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := s.set.Scan(t.Context(), dataset.ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range scan.IDs {
		if scan.IDs[i] != fresh.IDs[i] {
			t.Errorf("the index has another hash for %s", s.set.Items[i].Path)
		}
	}
}

// What a task cannot be done for is said; the others are done. A worker that can do nothing ends.
func TestFails(t *testing.T) {
	s := newStage(t)
	queue := newServer(t, &server.Options{})
	elsewhere := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	worker := WorkerOptions{Queue: queue.queue(), Features: feature.Options{Cache: s.cache},
		Device: device.Options{Provider: "cpu"}, Read: elsewhere}
	go func() { ended <- Serve(ctx, worker, s.events()) }()
	_, err := s.submit(t.Context(), queue.queue())
	if err == nil || !strings.Contains(err.Error(), "3 of 3 tasks were given up") ||
		!strings.Contains(err.Error(), elsewhere) {
		t.Errorf("a worker that may read nothing: %v", err)
	}
	cancel()
	<-ended
	if n := len(s.files("jobs/*/done/*.json")); n != 0 {
		t.Errorf("%d tasks are done", n)
	}

	worker.Read = ""
	moved := s.images + ".away"
	s.tell(func(said string) {
		if strings.HasPrefix(said, "job submittedjob") { // it is frozen
			if err := os.Rename(s.images, moved); err != nil {
				t.Error(err)
			}
		}
	})
	go func() {
		err := Serve(t.Context(), worker, event.Events{}) // ends, since it does not see the images
		ended <- err
		if err := os.Rename(moved, s.images); err != nil {
			t.Error(err)
		}
		worker.Idle = time.Second
		ended <- Serve(t.Context(), worker, event.Events{})
	}()
	if _, err := s.submit(t.Context(), queue.queue()); err != nil {
		t.Error(err)
	}
	if err := <-ended; fault.Of(err) != fault.Data || !strings.Contains(err.Error(), s.images) {
		t.Errorf("a worker without the images: %v", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A worker may be there before any job and any queue; the queue may go away and come back without what it had; a
// message that is no task and one that comes twice are no harm.
func TestQueueComesAndGoes(t *testing.T) {
	s := newStage(t)
	queue := newServer(t, &server.Options{})
	queue.stop()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	waits := make(chan bool, 1)
	go func() {
		ended <- Serve(ctx, WorkerOptions{Queue: queue.queue(), Features: feature.Options{Cache: s.cache},
			Device: device.Options{Provider: "cpu"}}, event.Events{Note: func(_ event.Level, text string, kv ...any) {
			if strings.Contains(text, "cannot be reached") {
				waits <- true
			}
			s.events().Note(event.Info, text, kv...)
		}})
	}()
	<-waits
	var once sync.Once
	s.tell(func(said string) {
		if strings.HasPrefix(said, "task donejob") {
			once.Do(func() {
				queue.stop()
				queue.start(t)
			})
		}
	})
	queue.start(t)
	x, err := s.submit(t.Context(), queue.queue())
	if err != nil {
		t.Error(err)
	}
	if n := s.left(x); n != 0 {
		t.Errorf("%d images were not encoded", n)
	}

	c, err := queue.queue().open(t.Context(), string(testkit.ReadFile(t, s.cache, "jobs", "identity")), event.Events{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	hash := filepath.Base(filepath.Dir(s.files("jobs/*/job.json")[0]))
	for _, text := range []string{"no task", string(taskMessage(hash, 0, strings.Repeat("A", 26)))} {
		if _, err := c.stream.Publish(t.Context(), c.tasks+".x", []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for { // until the worker has had both
		stream, err := c.ready(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if info, err := stream.Info(t.Context()); err != nil || info.State.Msgs == 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n := len(s.files("jobs/*/done/*.json")); n != 3 {
		t.Errorf("%d records", n)
	}
}

// That no worker is there is said, and ends nothing.
func TestNobodyWorks(t *testing.T) {
	s := newStage(t)
	queue := newServer(t, &server.Options{}).queue()
	queue.Patience = time.Second
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s.tell(func(said string) {
		if strings.Contains(said, "no worker is there") {
			cancel()
		}
	})
	if _, err := s.submit(ctx, queue); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// A queue that wants another token says so, to who submits and to workers, at once.
func TestToken(t *testing.T) {
	s := newStage(t)
	queue := newServer(t, &server.Options{})
	queue.options.Authorization = "right"
	queue.stop()
	queue.start(t)
	t.Setenv(TokenVariable, "wrong")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := Serve(ctx, WorkerOptions{Queue: queue.queue(), Features: feature.Options{Cache: s.cache}}, s.events())
	if fault.Of(err) != fault.Config || !strings.Contains(err.Error(), TokenVariable) {
		t.Errorf("a worker: %v", err)
	}
	if _, err := s.submit(ctx, queue.queue()); fault.Of(err) != fault.Config {
		t.Errorf("who submits: %v", err)
	}
	_, err = Open(ctx, Queue{}, feature.Options{Cache: s.cache}, event.Events{})
	for _, err := range []error{err, Serve(ctx, WorkerOptions{}, event.Events{})} {
		if fault.Of(err) != fault.Config {
			t.Errorf("no queue: %v", err)
		}
	}
}

// natsServer is a NATS server of its own, without what it had once it was stopped.
type natsServer struct {
	options *server.Options
	server  *server.Server
}

func newServer(t testing.TB, o *server.Options) *natsServer {
	t.Helper()
	o.Host, o.Port, o.JetStream, o.NoSigs, o.NoLog = "127.0.0.1", freePort(t), true, true, true
	s := &natsServer{options: o}
	s.start(t)
	t.Cleanup(s.stop)
	return s
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (s *natsServer) start(t testing.TB) {
	o := s.options.Clone()
	o.StoreDir = t.TempDir()
	var err error
	if s.server, err = server.NewServer(o); err != nil {
		t.Error(err)
		return
	}
	s.server.Start()
	if !s.server.ReadyForConnections(10 * time.Second) {
		t.Error(errors.New("the server does not start"))
	}
}

func (s *natsServer) stop() {
	s.server.Shutdown()
	s.server.WaitForShutdown()
}

func (s *natsServer) queue() Queue {
	return Queue{URL: fmt.Sprintf("nats://127.0.0.1:%d", s.options.Port), Patience: 2 * time.Second}
}

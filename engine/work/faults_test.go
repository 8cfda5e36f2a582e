package work

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/internal/disk"
	"github.com/vitft/vitft/internal/testkit"
)

// Parts of a job that are lost or damaged while it goes on are put anew, and what was given up for want of them is
// tried again; what was given up for another reason is not.
func TestAgain(t *testing.T) {
	s := newStage(t)
	b := &submission{Submission: Submission{Images: &dataset.Sets{Train: s.set}, Backbone: s.of,
		Features: s.open(t.Context()), Views: 2, TaskImages: 5}, events: s.events(), name: "first",
		jobs: jobBucket{bucket.Dir(filepath.Join(s.cache, "jobs"))}}
	if err := b.freeze(); err != nil {
		t.Fatal(err)
	}
	if put, err := b.publish(t.Context()); !put || err != nil {
		t.Fatal(put, err)
	}
	again := func(want bool) {
		t.Helper()
		if got, err := b.again(t.Context()); got != want || err != nil || (b.name != "first") != want {
			t.Errorf("%v, %v, %s; want %v", got, err, b.name, want)
		}
		b.name = "first"
	}
	again(false)
	b.failed = map[int]Failure{1: {}}
	again(false)
	for _, part := range []string{"jobs/*/job.json", "jobs/*/tasks/000001.json", "jobs/models/*"} {
		name := s.files(part)[0]
		before := testkit.ReadFile(t, name)
		testkit.WriteFile(t, name, []byte("{}"))
		again(true)
		if !bytes.Equal(testkit.ReadFile(t, name), before) {
			t.Errorf("%s is another", name)
		}
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		again(true)
	}
	again(false)
}

// A server that cannot help, as one that the others of its cluster have lost, is left for another.
func TestElsewhere(t *testing.T) {
	s := newStage(t)
	var all []string
	for i := range 2 {
		queue := newServer(t, &server.Options{})
		if i > 0 { // which the client may try first
			queue.stop()
			queue.options.JetStream = false
			queue.start(t)
		}
		all = append(all, fmt.Sprintf("nats://127.0.0.1:%d", queue.options.Port))
	}
	q := Queue{URL: strings.Join(all, ","), Patience: time.Minute}
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(ctx, WorkerOptions{Queue: q, Features: feature.Options{Cache: s.cache},
			Device: device.Options{Provider: "cpu"}}, event.Events{})
	}()
	if _, err := s.submit(ctx, q); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// On a disk that stays full a queue of this process ends as plain encoding does, also where it has one task.
func TestDiskStaysFull(t *testing.T) {
	s := newStage(t)
	submit := func(ctx context.Context) error {
		return Submit(ctx, Submission{Images: &dataset.Sets{Train: s.set}, Backbone: s.of,
			Features: s.open(context.Background()), Views: 2}, Queue{URL: Embedded}, s.events())
	}
	var full atomic.Bool
	restore := disk.SetFault(func(op disk.Op, path string) error {
		if op == disk.Create && strings.Contains(path, "/features/") && len(s.files("jobs/*/job.json")) > 0 {
			full.Store(true)
		}
		if full.Load() && op != disk.Remove {
			return syscall.ENOSPC
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := submit(ctx)
	restore()
	if fault.Of(err) != fault.Other || !strings.Contains(fmt.Sprint(err), "make room") {
		t.Error(err)
	}
	if err := submit(t.Context()); err != nil {
		t.Error(err)
	}
}

// Whenever a worker is told to stop, others get its task at once, or see that it is done.
func TestStopsAnywhere(t *testing.T) {
	s := newStage(t)
	q := newServer(t, &server.Options{}).queue()
	q.Patience = time.Hour
	for _, moment := range []int64{1, 12, 22, 32} {
		for _, dir := range []string{"features", "jobs", "models"} {
			if err := os.RemoveAll(filepath.Join(s.cache, dir)); err != nil {
				t.Fatal(err)
			}
		}
		all, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		frozen, ended := make(chan bool, 1), make(chan error, 1)
		s.tell(func(said string) {
			if strings.HasPrefix(said, "job submittedjob") {
				frozen <- true
			}
		})
		go func() {
			select {
			case <-frozen:
			case <-all.Done():
			}
			ctx, stop := context.WithCancel(all)
			var changes atomic.Int64
			restore := disk.SetFault(func(disk.Op, string) error {
				if changes.Add(1) == moment {
					stop()
				}
				return nil
			})
			defer stop()
			worker := WorkerOptions{Queue: q, Features: feature.Options{Cache: s.cache},
				Device: device.Options{Provider: "cpu"}}
			err := Serve(ctx, worker, event.Events{})
			restore()
			if ctx.Err() == nil || err != nil && fault.Of(err) != fault.Interrupted {
				t.Errorf("stopped at the %d. change: %v", moment, err)
			}
			ended <- Serve(all, worker, event.Events{})
		}()
		if _, err := s.submit(all, q); err != nil {
			t.Errorf("stopped at the %d. change: %v", moment, err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// While a task is published the next one is encoded. A worker that is told to stop then publishes what is encoded, and
// encodes no further.
func TestHands(t *testing.T) {
	s := newStage(t)
	ctx, stop := context.WithCancel(t.Context())
	published, second := make(chan bool), make(chan bool)
	begins := sync.OnceFunc(func() { close(published) })
	encoded := 0
	beforeEncoding = func(*dataset.Dataset) {
		if encoded++; encoded == 2 {
			<-published
			stop()
			close(second)
		}
	}
	restore := disk.SetFault(func(_ disk.Op, path string) error {
		if strings.Contains(path, "task-") {
			begins()
			select {
			case <-second:
			case <-time.After(20 * time.Second):
				t.Error("the second task waits until the first is published")
			}
		}
		return nil
	})
	_, err := s.submit(ctx, Queue{URL: Embedded})
	restore()
	beforeEncoding = nil
	if fault.Of(err) != fault.Interrupted {
		t.Errorf("interrupted: %v", err)
	}
	if n := len(s.files("jobs/*/done/*.json")); n != 1 || s.notes("task donejob") != 1 || encoded != 2 {
		t.Errorf("%d tasks are done, %d were begun", n, encoded)
	}
	x, err := s.submit(t.Context(), Queue{URL: Embedded})
	if n := s.notes("task donejob"); err != nil || n != 2 || s.left(x) != 0 {
		t.Errorf("then %d tasks were done, %v", n, err)
	}
}

// Of two that submit the same job at once, without a queue in common, each finds all done.
func TestTwoSubmit(t *testing.T) {
	s := newStage(t)
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			x, err := s.submit(t.Context(), Queue{URL: Embedded})
			if err != nil {
				t.Error(err)
			} else if n := s.left(x); n != 0 {
				t.Errorf("%d images were not encoded", n)
			}
		})
	}
	both.Wait()
	if n := len(s.files("features/*/task-*.safetensors")); n != 6 {
		t.Errorf("%d blocks of 3 tasks in 2 views", n)
	}
}

//go:build unix

package work

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/feature"
	_ "github.com/vitft/vitft/engine/feature/bucket/cloud"
	"github.com/vitft/vitft/engine/feature/store"
	"github.com/vitft/vitft/internal/testkit"
)

// live is how many bytes are in use.
func live() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// BenchmarkQueue measures what a broker takes: a stream in memory, one in files, and one in files of three servers, all
// in this process. tasks/s go on the queue; given/s are fetched and acknowledged by 32 workers, asked/s are stream and
// consumer made sure of; a task takes up stored-B on the queue, and heap-B of the process.
func BenchmarkQueue(b *testing.B) {
	for _, kind := range []string{"memory", "file", "three"} {
		b.Run(kind, func(b *testing.B) {
			q := Queue{URL: Embedded, Patience: 30 * time.Second}
			switch kind {
			case "file":
				q.URL = newServers(b, 1)
			case "three":
				q.URL = newServers(b, 3)
			}
			c, err := q.open(b.Context(), "ABCDEFGHIJKLMNOPQRSTUVWXYZ", event.Events{})
			if err != nil {
				b.Fatal(err)
			}
			defer c.close()
			n := 200_000
			s := &submission{queue: c, hash: "0123456789abcdef", name: strings.Repeat("A", 26),
				lists: make([][]Image, n), records: map[int]Record{}}
			for ; ; time.Sleep(100 * time.Millisecond) { // the servers may be choosing a leader
				if _, err := c.consumer(b.Context()); err == nil {
					break
				}
			}
			before, begun := live(), time.Now()
			if err := s.queueMissing(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(n)/time.Since(begun).Seconds(), "tasks/s")
			b.ReportMetric((live()-before)/float64(n), "heap-B")
			stream, err := c.ready(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			info, err := stream.Info(b.Context())
			if err != nil || info.State.Msgs != uint64(n) {
				b.Fatal(info, err)
			}
			b.ReportMetric(float64(info.State.Bytes)/float64(n), "stored-B")
			b.ReportMetric(perSecond(b, func() error { _, err := c.consumer(b.Context()); return err }), "asked/s")
			consumer, err := c.consumer(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(perSecond(b, func() error {
				wait, stop := context.WithTimeout(b.Context(), 10*time.Second)
				defer stop()
				batch, err := consumer.Fetch(1, jetstream.FetchContext(wait))
				if err != nil {
					return err
				}
				for message := range batch.Messages() {
					acknowledge(message)
				}
				return batch.Error()
			}), "given/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// perSecond is how often 32 goroutines can do something in a second.
func perSecond(b *testing.B, do func() error) float64 {
	var n atomic.Int64
	var all sync.WaitGroup
	begun := time.Now()
	for range 32 {
		all.Go(func() {
			for time.Since(begun) < 2*time.Second {
				if err := do(); err != nil {
					b.Error(err)
					return
				}
				n.Add(1)
			}
		})
	}
	all.Wait()
	return float64(n.Load()) / time.Since(begun).Seconds()
}

// newServers starts a server, or a cluster, and gives its URL.
func newServers(b *testing.B, n int) string {
	var options []*server.Options
	var urls, routes []string
	for i := range n {
		o := &server.Options{ServerName: fmt.Sprint("n", i), Host: "127.0.0.1", Port: freePort(b), JetStream: true,
			StoreDir: b.TempDir(), NoSigs: true, NoLog: true}
		if n > 1 {
			o.Cluster = server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: freePort(b)}
			routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", o.Cluster.Port))
		}
		options, urls = append(options, o), append(urls, fmt.Sprintf("nats://127.0.0.1:%d", o.Port))
	}
	for _, o := range options {
		o.Routes = server.RoutesFromStr(strings.Join(routes, ","))
		s, err := server.NewServer(o)
		if err != nil {
			b.Fatal(err)
		}
		s.Start()
		b.Cleanup(s.Shutdown)
	}
	return strings.Join(urls, ",")
}

// spent is the processor time that this process has used.
func spent(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkImages measures what an image takes of the process that submits, in a job of 100,000 in folders of a
// thousand: bytes in use once it is listed, frozen, and known to be done (each with all before), bytes of its entry in
// a task's list and in a record, and processor time: of freezing, of reading the record, and of telling the scan index.
func BenchmarkImages(b *testing.B) {
	const folders, each = 100, 1000
	n := float64(folders * each)
	dir := b.TempDir()
	var photo string
	for i := range folders {
		if i%10 == 0 { // a file has so many names and no more
			jpeg := testkit.JPEG(b, testkit.Picture(1, 2, 3))
			photo = testkit.WriteFile(b, filepath.Join(dir, fmt.Sprint(i)), jpeg)
		}
		class := filepath.Join(dir, "images", fmt.Sprintf("class-%04d", i))
		if err := os.MkdirAll(class, 0o755); err != nil {
			b.Fatal(err)
		}
		for k := range each {
			if err := os.Link(photo, filepath.Join(class, fmt.Sprintf("photograph-%07d.jpg", i*each+k))); err != nil {
				b.Fatal(err)
			}
		}
	}
	for b.Loop() {
		before, begun := live(), spent(b)
		set, _, err := dataset.Open(filepath.Join(dir, "images"), dataset.Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric((live()-before)/n, "B-listed")
		_, images, err := freeze(&dataset.Sets{Train: set})
		if err != nil {
			b.Fatal(err)
		}
		tasks := cut(set.Items, images, 512)
		var size, recorded int
		for _, list := range tasks {
			size += len(encoded(list))
		}
		b.ReportMetric(float64(spent(b)-begun)/n, "ns-frozen")
		b.ReportMetric((live()-before)/n, "B-frozen")
		index := dataset.OpenIndex(b.TempDir())
		var read, learnt time.Duration
		for i, list := range tasks {
			var r Record
			for _, im := range list {
				r.Images = append(r.Images, outcome(sha256.Sum256([]byte(im.Path)), nil, true))
			}
			record := encoded(r)
			recorded += len(record)
			begun = spent(b)
			if err := json.Unmarshal(record, &r); err != nil {
				b.Fatal(err)
			}
			read += spent(b) - begun
			begun = spent(b)
			for k, im := range list {
				id, err := hex.DecodeString(r.Images[k].ID)
				if err != nil {
					b.Fatal(err)
				}
				index.Learn(set.Items[i*512+k], im.info(), dataset.ID(id))
			}
			learnt += spent(b) - begun
		}
		b.ReportMetric(float64(read)/n, "ns-read")
		b.ReportMetric(float64(learnt)/n, "ns-learnt")
		b.ReportMetric((live()-before)/n, "B-known")
		b.ReportMetric(float64(size)/n, "B-list")
		b.ReportMetric(float64(recorded)/n, "B-record")
		runtime.KeepAlive(set)
		runtime.KeepAlive(tasks)
		runtime.KeepAlive(index)
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkStatus measures what vitft status takes of a job of 10,000 tasks that are done, in a bucket of an S3 server
// on this machine: at first, and again, when there are copies of the records.
func BenchmarkStatus(b *testing.B) {
	const tasks, images = 10_000, 64
	record := Record{Worker: "machine-1", Seconds: 1, At: time.Now(), Images: make([]Done, images)}
	for i := range record.Images {
		record.Images[i].ID = hex.EncodeToString(make([]byte, sha256.Size))
	}
	job := Job{Format: jobFormat, Keys: []store.Key{{Provider: "cpu"}}, Images: tasks * images,
		Tasks: make([]string, tasks)}
	for b.Loop() {
		b.Setenv("XDG_CACHE_HOME", b.TempDir())
		server := testkit.StartS3(b, "team", b.TempDir())
		folder := filepath.Join(server.Folder, "team", "x", "jobs", job.Hash())
		testkit.WriteFile(b, filepath.Join(folder, jobObject), encoded(job))
		for task := range tasks {
			testkit.WriteFile(b, filepath.Join(folder, records, fmt.Sprintf("%06d.json", task)), encoded(record))
		}
		for _, what := range []string{"first-s", "again-s"} {
			begun := time.Now()
			s, err := ReadStatus(b.Context(), StatusOptions{Features: feature.Options{
				Cache: "s3://team/x?endpoint=" + server.Endpoint}})
			if err != nil || s.Jobs[0].Tasks.Done != tasks {
				b.Fatal(err)
			}
			b.ReportMetric(time.Since(begun).Seconds(), what)
		}
	}
	b.ReportMetric(0, "ns/op")
}

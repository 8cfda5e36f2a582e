//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
)

// Whatever dies, the features of many machines are those of one: workers are killed again and again, a server of the
// queue is, the stream is deleted, the bucket is an S3 server. VITFT_KILLS says how many workers are killed.
func TestQueueSurvives(t *testing.T) {
	library := ort.Need(t)
	kills := 12
	if n, err := strconv.Atoi(os.Getenv("VITFT_KILLS")); err == nil {
		kills = n
	}
	program, train := built(t), photos(t, 10*kills)
	want := headOf(t, train, t.TempDir())
	store := "s3://team/vitft?endpoint=" + testkit.S3(t, "team")
	queue := newCluster(t)
	work := func(name string, args ...string) *exec.Cmd {
		args = append(args, "--cache", store, "--queue", queue.url(), "--queue-patience", "2s")
		cmd := exec.Command(program, args...)
		cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+filepath.Join(t.TempDir(), name),
			"VITFT_ORT_LIB="+library.Path)
		return cmd
	}
	var said bytes.Buffer
	submit := work("submits", "encode", "--train", train, "--task-images", "8")
	submit.Stderr, submit.Stdout = &said, &said
	if err := submit.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- submit.Wait() }()

	ctx, stop := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 3 {
		life := func() time.Duration { return time.Duration(300+random.IntN(1500)) * time.Millisecond }
		lives := make([]time.Duration, kills/3)
		for k := range lives {
			lives[k] = life()
		}
		workers.Go(func() {
			for k := 0; ctx.Err() == nil; k++ { // the last one lives until the job is done
				w := work(fmt.Sprintf("works-%d-%d", i, k), "worker", "--quiet")
				if err := w.Start(); err != nil {
					t.Error(err)
					return
				}
				done := make(chan struct{})
				go func() { w.Wait(); close(done) }()
				last := ctx.Done()
				if k < len(lives) {
					select {
					case <-done:
					case <-time.After(lives[k]):
					}
				} else {
					<-last
				}
				w.Process.Kill()
				<-done
			}
		})
	}
	time.Sleep(2 * time.Second)
	queue.restart(t, 1)
	queue.deleteStream(t)
	queue.restart(t, 2)

	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("%v\n%s", err, said.String())
		}
	case <-time.After(4 * time.Minute):
		submit.Process.Kill()
		t.Errorf("the job does not end:\n%s", said.String())
	}
	stop()
	workers.Wait()
	images := fmt.Sprintf("%d images, 0 encoded now, %[1]d from the store, 0 unreadable", 20*kills)
	if !strings.Contains(said.String(), images) {
		t.Errorf("it says %s, not %s", said.String(), images)
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	if !bytes.Equal(headOf(t, train, store), want) {
		t.Error("another head is learned than from the features of one machine")
	}
}

// cluster is three NATS servers.
type cluster struct {
	options []*server.Options
	servers []*server.Server
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{servers: make([]*server.Server, 3)}
	var routes []string
	port := func() int {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().(*net.TCPAddr).Port
	}
	for i := range 3 {
		o := &server.Options{ServerName: fmt.Sprint("n", i), Host: "127.0.0.1", Port: port(), JetStream: true,
			StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
			Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: port()}}
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", o.Cluster.Port))
		c.options = append(c.options, o)
	}
	for i, o := range c.options {
		o.Routes = server.RoutesFromStr(strings.Join(routes, ","))
		c.start(t, i)
	}
	t.Cleanup(func() {
		for _, s := range c.servers {
			s.Shutdown()
		}
	})
	return c
}

func (c *cluster) start(t *testing.T, i int) {
	t.Helper()
	s, err := server.NewServer(c.options[i].Clone())
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	c.servers[i] = s
}

// restart ends a server at once and, some time later, starts it with what it had.
func (c *cluster) restart(t *testing.T, i int) {
	t.Helper()
	c.servers[i].Shutdown()
	c.servers[i].WaitForShutdown()
	time.Sleep(time.Second)
	c.start(t, i)
}

func (c *cluster) url() string {
	var all []string
	for _, o := range c.options {
		all = append(all, fmt.Sprintf("nats://%s:%d", o.Host, o.Port))
	}
	return strings.Join(all, ",")
}

func (c *cluster) deleteStream(t *testing.T) {
	t.Helper()
	connection, err := nats.Connect(c.url())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	stream, err := jetstream.New(connection)
	if err != nil {
		t.Fatal(err)
	}
	for try := 1; ; try++ { // the servers may be choosing another leader
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		err := stream.DeleteStream(ctx, "VITFT")
		cancel()
		if err == nil || errors.Is(err, jetstream.ErrStreamNotFound) {
			return
		}
		if try == 10 {
			t.Error(err)
			return
		}
	}
}

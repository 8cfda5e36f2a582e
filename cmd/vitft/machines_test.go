package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	neturl "net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/vitft/vitft/internal/testkit"
)

// oneMachine runs vitft in a process of its own, with a cache folder of its own, again and again, whatever ends it.
type oneMachine struct {
	t     *testing.T
	name  string
	cache string
	args  []string
	until func(code int, said string) bool // whether that was all

	mu      sync.Mutex
	process *os.Process // that runs now
}

// run keeps the process running. An end that promises nothing of another try is an error.
func (m *oneMachine) run(ctx context.Context) {
	for ctx.Err() == nil {
		cmd := exec.Command(os.Args[0], m.args...)
		cmd.Env = append(os.Environ(), faultVariable+"=", "XDG_CACHE_HOME="+m.cache)
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		m.mu.Lock()
		err := cmd.Start()
		m.process = cmd.Process
		m.mu.Unlock()
		if err != nil {
			m.t.Error(err)
			return
		}
		ended := make(chan struct{})
		go func() {
			select {
			case <-ctx.Done():
				m.signal(syscall.SIGKILL)
			case <-ended:
			}
		}()
		_ = cmd.Wait()
		m.mu.Lock()
		m.process = nil
		m.mu.Unlock()
		close(ended)
		switch code := cmd.ProcessState.ExitCode(); {
		case m.until(code, said.String()):
			return
		case code == 1:
			m.t.Logf("%s has ended by itself: %s", m.name, lastLine(said.String()))
			time.Sleep(500 * time.Millisecond)
		case code > 1 && code != 130: // which is that of SIGTERM
			m.t.Errorf("%s has ended with %d:\n%s", m.name, code, said.String())
			return
		}
	}
}

// signal sends one to the process, if it runs.
func (m *oneMachine) signal(s os.Signal) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.process != nil && m.process.Signal(s) == nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// link is a way to a server. While it is cut nothing passes, neither bytes nor the end of a connection, as where
// packets are lost; when it heals all of that comes.
type link struct {
	address, to string

	mu   sync.Mutex
	open chan struct{} // is closed while it is
}

func newLink(t *testing.T, to string) *link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	l := &link{address: listener.Addr().String(), to: to, open: make(chan struct{})}
	close(l.open)
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				l.wait()
				far, err := net.Dial("tcp", to)
				if err != nil {
					near.Close()
					return
				}
				go l.carry(near, far)
				l.carry(far, near)
			}()
		}
	}()
	return l
}

func (l *link) carry(from, to net.Conn) {
	buffer := make([]byte, 1<<15)
	for {
		n, err := from.Read(buffer)
		l.wait()
		if _, failed := to.Write(buffer[:n]); errors.Join(err, failed) != nil {
			from.Close()
			to.Close()
			return
		}
	}
}

// wait waits until the link is open.
func (l *link) wait() {
	l.mu.Lock()
	open := l.open
	l.mu.Unlock()
	<-open
}

// cut cuts a link until it is healed.
func (l *link) cut() (heal func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = make(chan struct{})
	return sync.OnceFunc(func() { close(l.open) })
}

// cutAll cuts links until they are healed.
func cutAll(links ...*link) (heal func()) {
	var heals []func()
	for _, l := range links {
		heals = append(heals, l.cut())
	}
	return func() {
		for _, heal := range heals {
			heal()
		}
	}
}

// cluster is three NATS servers, each in a process of its own, that reach each other through links.
type cluster struct {
	nodes  [3]node
	routes [3][3]*link // from the one to the other
}

// node is a NATS server.
type node struct {
	Name, Address, Cluster, Store string
	Routes                        []string

	process *exec.Cmd
}

// natsVariable makes this test program a NATS server.
const natsVariable = "VITFT_TEST_NATS"

// serveNATS is such a server, until it is killed.
func serveNATS(text string) {
	var n node
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		log.Fatal(err)
	}
	port := func(address string) int { return must(net.ResolveTCPAddr("tcp", address)).Port }
	s := must(server.NewServer(&server.Options{ServerName: n.Name, Host: "127.0.0.1", Port: port(n.Address),
		JetStream: true, StoreDir: n.Store, NoSigs: true, NoLog: true,
		Routes: server.RoutesFromStr(strings.Join(n.Routes, ",")),
		// Nobody learns of ways beside the links.
		Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: port(n.Cluster), NoAdvertise: true,
			Advertise: "127.0.0.1:1"}}))
	s.Start()
	s.WaitForShutdown()
	os.Exit(1)
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// newCluster starts servers that keep what they have in three folders.
func newCluster(t *testing.T, stores [3]string) *cluster {
	t.Helper()
	c := &cluster{}
	for i := range c.nodes {
		c.nodes[i] = node{Name: fmt.Sprint("n", i), Address: testkit.FreeAddress(t), Cluster: testkit.FreeAddress(t),
			Store: stores[i]}
	}
	for i := range c.nodes {
		for k := range c.nodes {
			if i != k {
				c.routes[i][k] = newLink(t, c.nodes[k].Cluster)
				c.nodes[i].Routes = append(c.nodes[i].Routes, "nats://"+c.routes[i][k].address)
			}
		}
		c.start(t, i)
		t.Cleanup(func() { c.kill(i) })
	}
	return c
}

// start starts a server, if it does not run.
func (c *cluster) start(t *testing.T, i int) {
	n := &c.nodes[i]
	if n.process != nil {
		return
	}
	n.process = exec.Command(os.Args[0])
	n.process.Env = append(os.Environ(), natsVariable+"="+string(must(json.Marshal(n))))
	if err := n.process.Start(); err != nil {
		t.Error(err)
	}
}

// kill ends a server at once.
func (c *cluster) kill(i int) {
	if n := &c.nodes[i]; n.process != nil {
		_ = n.process.Process.Kill()
		_ = n.process.Wait()
		n.process = nil
	}
}

// around are the links of a server with the others.
func (c *cluster) around(i int) (links []*link) {
	for k := range c.nodes {
		if k != i {
			links = append(links, c.routes[i][k], c.routes[k][i])
		}
	}
	return links
}

// with does something with the stream of tasks, again until that works, and gives up in the end.
func (c *cluster) with(ctx context.Context, do func(context.Context, jetstream.JetStream) error) error {
	var all []string
	for _, n := range c.nodes {
		all = append(all, "nats://"+n.Address)
	}
	connection, err := nats.Connect(strings.Join(all, ","))
	if err != nil {
		return err
	}
	defer connection.Close()
	js := must(jetstream.New(connection))
	for try := 1; ; try++ { // the servers may be choosing another leader
		limited, cancel := context.WithTimeout(ctx, time.Second)
		err := do(limited, js)
		cancel()
		if err == nil || try == 5 || ctx.Err() != nil {
			return err
		}
	}
}

// front stands before an S3 server as a network and a busy operator do.
type front struct {
	servers [2]*httptest.Server // the near side's and the far one's
	mode    atomic.Value        // string: "", "busy", "slow" or "lost"
	far     atomic.Bool         // the far side is cut off
	pass    func(record string) bool
}

// newFront makes ways to a server; a record of a task is not put before pass says so.
func newFront(t *testing.T, target string, pass func(record string) bool) *front {
	t.Helper()
	f := &front{pass: pass}
	f.mode.Store("")
	to := must(neturl.Parse(target))
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host // which is signed
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ErrorLog:     log.New(io.Discard, "", 0),
	}
	for side := range f.servers {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			wait := func(for_ func() bool) {
				for for_() && r.Context().Err() == nil {
					time.Sleep(10 * time.Millisecond)
				}
			}
			if side == 1 {
				wait(f.far.Load)
			}
			if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/done/") {
				wait(func() bool { return !f.pass(r.URL.Path) })
			}
			switch mode := f.mode.Load(); {
			case r.Context().Err() != nil:
				return
			case mode == "busy" && rand.IntN(4) > 0:
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			case mode == "slow":
				time.Sleep(time.Duration(rand.IntN(600)) * time.Millisecond)
			case mode == "lost" && r.Method == http.MethodPut && rand.IntN(2) == 0: // done, and no word of it
				forward.ServeHTTP(httptest.NewRecorder(), r)
				panic(http.ErrAbortHandler)
			}
			forward.ServeHTTP(w, r)
		}))
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.Start()
		t.Cleanup(func() {
			s.CloseClientConnections()
			s.Close()
		})
		f.servers[side] = s
	}
	return f
}

// smallDisk is a folder with a file system of its own, if such may be mounted here.
func smallDisk(t *testing.T, megabytes int) (folder string, is bool) {
	t.Helper()
	folder = t.TempDir()
	size := fmt.Sprintf("size=%dm", megabytes)
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", size, "tmpfs", folder).CombinedOutput(); err != nil {
		t.Logf("a small file system cannot be mounted here, no disk gets full: %v: %s", err, out)
		return folder, false
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", folder).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	return folder, true
}

// fill takes up all room of a disk until free.
func fill(t *testing.T, folder string) (free func()) {
	path := filepath.Join(folder, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Error(err)
		return func() {}
	}
	defer f.Close()
	for zeros := make([]byte, 1<<20); len(zeros) > 0; {
		if _, err := f.Write(zeros); err != nil {
			zeros = zeros[:len(zeros)/2]
		}
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

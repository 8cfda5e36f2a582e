package serve_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vitft/vitft/internal/testkit/ort"
	"github.com/vitft/vitft/internal/testkit/trained"
)

// TestSoak overloads a server for the time of the environment variable VITFT_SOAK (5 s): with honest clients, more than
// its queue takes, and with such as are slow, break off, or send what is no image. Every honest question is answered in
// the end, with the right label; memory stays flat and every goroutine ends.
func TestSoak(t *testing.T) {
	ort.Need(t)
	long := 5 * time.Second
	if text := os.Getenv("VITFT_SOAK"); text != "" {
		var err error
		if long, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	run, err := trained.Run(t.TempDir(), "across", "down")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, run, "--max-queue", "16", "--max-body", "1048576", "--timeout", "6s", "--drain", "0s")
	defer s.cmd.Process.Kill()
	before := s.state(t)
	var a answers
	stop := make(chan struct{})
	var honest, hostile sync.WaitGroup
	for i := range 24 {
		honest.Go(func() { a.ask(s.url, i, stop) })
	}
	for _, attack := range attacks {
		for range 8 {
			hostile.Go(func() {
				for !ended(stop) {
					attack(strings.TrimPrefix(s.url, "http://"), stop)
				}
			})
		}
	}
	var seen []state
	for end := time.Now().Add(long); time.Now().Before(end); time.Sleep(min(long/20, 10*time.Second)) {
		seen = append(seen, s.state(t))
	}
	close(stop)
	hostile.Wait()
	honest.Wait()
	var after state
	for range 100 { // slow clients are cut off after the server's timeout
		if after = s.state(t); after.goroutines <= before.goroutines+2 {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("the server ended with %v", err)
	}
	early, late := largest(seen[len(seen)/10:len(seen)/3+1]), largest(seen[2*len(seen)/3:])
	t.Logf("%v: %d answers, all right, after %d times 429; longest wait %v; MB resident %d at first, at most %d in "+
		"the first third, %d in the last, %d at the end; goroutines %d, at most %d, %d", long, a.right.Load(),
		a.busy.Load(), time.Duration(a.longest.Load()).Round(time.Millisecond), before.resident, early.resident,
		late.resident, after.resident, before.goroutines, max(early.goroutines, late.goroutines), after.goroutines)
	if text := a.first.Load(); text != nil {
		t.Errorf("an honest client: %v", text)
	}
	if a.right.Load() == 0 {
		t.Error("nobody was answered")
	}
	if after.goroutines > before.goroutines+2 {
		t.Errorf("%d goroutines remain of %d at most; there were %d before", after.goroutines,
			late.goroutines, before.goroutines)
	}
	if long >= time.Minute && late.resident > early.resident*5/4+16 {
		t.Errorf("memory grows: %d MB at most in the first third, %d MB in the last", early.resident, late.resident)
	}
	if most := max(early.resident, late.resident); most > 1000 {
		t.Errorf("%d MB resident", most)
	}
}

// state is what the server says of itself.
type state struct{ resident, goroutines int } // MB, number

func (s *server) state(t *testing.T) (now state) {
	t.Helper()
	r, err := http.Get(s.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		v, _ := strconv.ParseFloat(value, 64)
		switch name {
		case "process_resident_memory_bytes":
			now.resident = int(v) >> 20
		case "go_goroutines":
			now.goroutines = int(v)
		}
	}
	return now
}

func largest(seen []state) (most state) {
	for _, s := range seen {
		most = state{max(most.resident, s.resident), max(most.goroutines, s.goroutines)}
	}
	return most
}

func ended(stop chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}

// answers are what honest clients got.
type answers struct {
	right, busy, longest atomic.Int64
	first                atomic.Value // what went wrong
}

// ask asks one question after the other, each until it is answered.
func (a *answers) ask(url string, number int, stop chan struct{}) {
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for ; !ended(stop); number += 24 {
		class := number % 2
		begin := time.Now()
		for done := false; !done; {
			status, label, err := question(client, url, trained.Photo(class, uint64(number%10)))
			switch {
			case err != nil:
				a.first.CompareAndSwap(nil, err.Error())
				return
			case status == http.StatusTooManyRequests && time.Since(begin) < time.Minute:
				a.busy.Add(1)
				time.Sleep(time.Duration(50+rand.IntN(100)) * time.Millisecond)
			case status == http.StatusOK && label == [2]string{"across", "down"}[class]:
				a.right.Add(1)
				done = true
			default:
				what := fmt.Sprintf("status %d, label %q after %v", status, label, time.Since(begin))
				a.first.CompareAndSwap(nil, what)
				return
			}
		}
		if took := int64(time.Since(begin)); took > a.longest.Load() {
			a.longest.Store(took)
		}
	}
}

func question(client *http.Client, url string, image []byte) (status int, label string, err error) {
	r, err := client.Post(url+"/v1/classify?top=1", "image/jpeg", bytes.NewReader(image))
	if err != nil {
		return 0, "", err
	}
	defer r.Body.Close()
	var said struct{ Results []struct{ Label string } }
	if err := json.NewDecoder(r.Body).Decode(&said); err != nil {
		return 0, "", err
	}
	if len(said.Results) == 1 {
		label = said.Results[0].Label
	}
	return r.StatusCode, label, nil
}

// attacks are clients that nobody wants.
var attacks = []func(addr string, stop chan struct{}){
	func(addr string, stop chan struct{}) { // headers, a byte at a time
		drip(addr, "POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("x", 1000), stop)
	},
	func(addr string, stop chan struct{}) { // a body, a byte at a time
		drip(addr, "POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"+
			"Content-Length: 100000\r\n\r\n", stop)
	},
	func(addr string, _ chan struct{}) { // broken off in the middle of a body
		send(addr, post("image/jpeg", strings.Repeat("x", 100000))[:50000], false)
	},
	func(addr string, _ chan struct{}) { // no answer wanted
		send(addr, post("image/jpeg", string(trained.Photo(rand.IntN(2), 1))), false)
	},
	func(addr string, _ chan struct{}) { // no image
		send(addr, post("image/jpeg", "\xff\xd8\xff"+strings.Repeat("y", 2000)), true)
	},
	func(addr string, _ chan struct{}) { // small elements
		send(addr, post("application/json", `{"images":[`+strings.Repeat("{},", 300000)+`{}]}`), true)
	},
	func(addr string, _ chan struct{}) { // more than is taken
		send(addr, post("image/png", strings.Repeat("z", 3<<20)), true)
	},
	func(addr string, _ chan struct{}) { // no HTTP
		noise := make([]byte, 1000)
		for i := range noise {
			noise[i] = byte(rand.Uint32())
		}
		send(addr, string(noise), true)
	},
}

func post(kind, body string) string {
	const head = "POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
	return fmt.Sprintf(head, kind, len(body)) + body
}

// send sends a text and, if it listens, reads what comes.
func send(addr, text string, listen bool) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		time.Sleep(100 * time.Millisecond)
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(c, text)
	if listen {
		c.Read(make([]byte, 1000))
	}
	time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
}

// drip sends the end of a text, and zeros after it, slowly, until the server has enough.
func drip(addr, text string, stop chan struct{}) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		time.Sleep(100 * time.Millisecond)
		return
	}
	defer c.Close()
	for _, err := io.WriteString(c, text); err == nil && !ended(stop); _, err = c.Write([]byte{'0'}) {
		time.Sleep(200 * time.Millisecond)
	}
}

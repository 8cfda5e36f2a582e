package serve_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/onnx"
)

var (
	vitft    = flag.String("vitft", "", "the program to measure (default: this checkout's)")
	run      = flag.String("run", "", "run folder with predictions.csv; nothing is measured without")
	clients  = flag.Int("clients", 64, "clients at a time")
	load     = flag.Duration("for", 3*time.Minute, "how long they ask, in all")
	rounds   = flag.Int("rounds", 9, "rounds of that")
	bareFor  = flag.Duration("bare", 6*time.Second, "bare session runs before, between and after the rounds")
	provider = flag.String("provider", "cpu", "cpu or cuda")
	batch    = flag.Int("batch", 16, "images of a batch")
)

// BenchmarkServe is described in doc.go.
func BenchmarkServe(b *testing.B) {
	if *run == "" {
		b.Skip("it takes minutes: ask for it with -args -run RUN")
	}
	photos := readPhotos(b)
	alone := newBare(b, photos)
	defer alone.model.Close()
	s := start(b, *run)
	defer s.cmd.Process.Kill()

	var t tally
	var hold sync.RWMutex // held by each request, and between rounds by us
	hold.Lock()
	all := attack(s, photos, &t, &hold)
	bare := []float64{alone.rate(b)}
	var served, ratios []float64
	var memory []string
	for i := range *rounds {
		before, begin := t.answered(), time.Now()
		hold.Unlock()
		if i == *rounds/3 || i == 2**rounds/3 {
			s.cmd.Process.Signal(syscall.SIGHUP)
		}
		time.Sleep(*load / time.Duration(*rounds))
		memory = append(memory, resident(s.cmd.Process.Pid))
		last := i == *rounds-1 // when the clients go on
		if !last {
			hold.Lock()
		}
		served = append(served, float64(t.answered()-before)/time.Since(begin).Seconds())
		if !last {
			bare = append(bare, alone.rate(b))
		}
	}
	t.terminated.Store(true)
	end := time.Now()
	s.cmd.Process.Signal(syscall.SIGTERM)
	all.Wait()
	stopping := time.Since(end)
	if err := s.cmd.Wait(); err != nil {
		b.Fatalf("the server ended with %v", err)
	}
	bare = append(bare, alone.rate(b))
	for i, x := range served {
		ratios = append(ratios, x/((bare[i]+bare[i+1])/2))
	}

	fmt.Printf("%d CPUs, provider %s, %d clients for %v in %d rounds, %d photos\n",
		runtime.NumCPU(), *provider, *clients, *load, *rounds, len(photos))
	fmt.Printf("bare session, batches of %d: %.1f images/s (median of %.1f)\n", *batch, median(bare), bare)
	fmt.Printf("server: %.1f images/s (median of %.1f)\n", median(served), served)
	fmt.Printf("server as a share of the bare runs before and after the round: %.3f (median of %.2f)\n",
		median(ratios), ratios)
	slices.Sort(t.latencies)
	at := func(q float64) time.Duration {
		return t.latencies[int(q*float64(len(t.latencies)-1))].Round(time.Millisecond)
	}
	fmt.Printf("latency: median %v, 95 %% %v, 99 %% %v\n", at(.5), at(.95), at(.99))
	fmt.Printf("%d answers, %d with the run's label; 2 reloads; ended %v after SIGTERM; %d requests not accepted "+
		"after it\n", t.answers, t.right, stopping.Round(time.Millisecond), t.refused)
	fmt.Printf("memory after each round (MB resident): %s\n", strings.Join(memory, " "))
	b.ReportMetric(median(ratios), "of-bare")
	b.ReportMetric(0, "ns/op") // which would only be how long this took
	if t.lost > 0 || t.right != t.answers {
		b.Errorf("%d requests were lost, %d labels differ: %s", t.lost, t.answers-t.right, t.first)
	}
}

// photo is an image and the label that the run gave it.
type photo struct {
	path, label string
	encoded     []byte
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

func readPhotos(b *testing.B) (photos []photo) {
	text := testkit.ReadFile(b, *run, "predictions.csv")
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil {
		b.Fatal(err)
	}
	for _, row := range rows[1:] {
		photos = append(photos, photo{row[0], row[2], testkit.ReadFile(b, row[0])})
	}
	return photos
}

// bare is a session and a batch that is ready for it.
type bare struct {
	model   *onnx.ImageModel
	pixels  []float32
	outputs [][]float32
}

func newBare(b *testing.B, photos []photo) *bare {
	c, err := classify.Open(*run, classify.Options{Device: device.Options{Provider: *provider}})
	if err != nil { // it loads the library and knows the preprocessing
		b.Fatal(err)
	}
	p, file := c.Preprocess(), c.Info().Path
	if err := c.Close(); err != nil {
		b.Fatal(err)
	}
	m, err := onnx.NewImageModel(testkit.ReadFile(b, file), onnx.SessionOptions{Provider: onnx.Provider(*provider)})
	if err != nil {
		b.Fatal(err)
	}
	a := &bare{model: m, pixels: make([]float32, *batch*p.Size())}
	for i := range *batch {
		if err := p.Bytes(photos[i%len(photos)].encoded, a.pixels[i*p.Size():(i+1)*p.Size()]); err != nil {
			b.Fatal(err)
		}
	}
	for _, v := range m.Outputs() {
		a.outputs = append(a.outputs, make([]float32, int64(*batch)*v.Shape[1]))
	}
	a.run(b) // the first is slower
	return a
}

func (a *bare) run(b *testing.B) {
	if err := a.model.Run(context.Background(), a.pixels, *batch, a.outputs...); err != nil {
		b.Fatal(err)
	}
}

// rate is the images a second, over the time of the flag at least.
func (a *bare) rate(b *testing.B) float64 {
	images, begin := 0, time.Now()
	for time.Since(begin) < *bareFor {
		a.run(b)
		images += *batch
	}
	return float64(images) / time.Since(begin).Seconds()
}

// server is a running `vitft serve`.
type server struct {
	cmd *exec.Cmd
	url string
}

func start(b testing.TB, run string, more ...string) *server {
	program := *vitft
	if program == "" {
		program = filepath.Join(b.TempDir(), "vitft")
		if out, err := exec.Command("go", "build", "-o", program, "../../cmd/vitft").CombinedOutput(); err != nil {
			b.Fatalf("build vitft: %v: %s", err, out)
		}
	}
	args := []string{"serve", "--model", run, "--addr", "127.0.0.1:0", "--provider", *provider, "--batch",
		strconv.Itoa(*batch), "--log-format", "json"}
	cmd := exec.Command(program, append(args, more...)...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	found := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			var line struct{ Level, Message, URL string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.URL != "" {
				found <- line.URL
			}
			fmt.Fprintf(os.Stderr, "server: %s\n", lines.Text())
		}
		close(found)
	}()
	url, ok := <-found
	if !ok {
		b.Fatalf("%s did not start: %v", program, cmd.Wait())
	}
	return &server{cmd, url}
}

// tally is what the clients saw.
type tally struct {
	terminated atomic.Bool // SIGTERM was sent

	sync.Mutex
	answers, right, refused, lost int
	latencies                     []time.Duration
	first                         string // thing that went wrong
}

func (t *tally) answered() int {
	t.Lock()
	defer t.Unlock()
	return t.answers
}

// note counts an answer and says whether its client goes on.
func (t *tally) note(p photo, label string, took time.Duration, err error) bool {
	t.Lock()
	defer t.Unlock()
	wrong := ""
	switch {
	case err != nil && t.terminated.Load() && notAccepted(err):
		t.refused++
		return false
	case err != nil:
		t.lost++
		wrong = fmt.Sprintf("%s: %v", p.path, err)
	default:
		t.answers++
		t.latencies = append(t.latencies, took)
		if label == p.label {
			t.right++
		} else {
			wrong = fmt.Sprintf("%s: %s, the run said %s", p.path, label, p.label)
		}
	}
	if t.first == "" {
		t.first = wrong
	}
	return err == nil || !t.terminated.Load()
}

// attack lets clients ask, whenever they get hold, until the server is gone.
func attack(s *server, photos []photo, t *tally, hold *sync.RWMutex) *sync.WaitGroup {
	var next atomic.Int64
	var all sync.WaitGroup
	for range *clients {
		all.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: 2 * time.Minute}
			for more := true; more; {
				hold.RLock()
				p := photos[int(next.Add(1)-1)%len(photos)]
				asked := time.Now()
				label, err := ask(client, s.url, p.encoded)
				more = t.note(p, label, time.Since(asked), err)
				hold.RUnlock()
			}
		})
	}
	return &all
}

func ask(client *http.Client, url string, image []byte) (label string, err error) {
	r, err := client.Post(url+"/v1/classify?top=1", "image/jpeg", bytes.NewReader(image))
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return "", err
	}
	var a struct{ Results []struct{ Label string } }
	if err := json.Unmarshal(text, &a); err != nil || r.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", r.Status, text)
	}
	return a.Results[0].Label, nil
}

// notAccepted tells a connection that was refused, or closed before the request was read, from an answer that did not
// come.
func notAccepted(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && (op.Op == "dial" || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE))
}

func resident(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 2 {
		return "?"
	}
	pages, err := strconv.Atoi(fields[1])
	if err != nil {
		return "?"
	}
	return strconv.Itoa(pages * os.Getpagesize() >> 20)
}

// Command serve measures `vitft serve` under load, against bare session runs of
// the same model on the same machine:
//
//	go build -o /tmp/vitft ./cmd/vitft
//	go run ./bench/serve -vitft /tmp/vitft -run RUN
//
// RUN is a finished run; its predictions.csv says which photos to send and which
// labels to expect. Many clients ask for some minutes, in rounds; before, between
// and after them, while the clients hold still, bare runs of ready batches are
// timed, because machines are shared and their speed changes. Two reloads
// (SIGHUP) are on the way and SIGTERM is at the end. It fails if an answer is
// missing or other than the run's.
package main

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
	"log"
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
	"time"

	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/onnx"
)

func main() {
	log.SetFlags(0)
	vitft := flag.String("vitft", "bin/vitft", "the program to measure")
	run := flag.String("run", "run", "run folder with predictions.csv")
	clients := flag.Int("clients", 64, "clients at a time")
	load := flag.Duration("for", 3*time.Minute, "how long they ask, in all")
	rounds := flag.Int("rounds", 9, "rounds of that")
	bare := flag.Duration("bare", 6*time.Second, "bare session runs before, between and after the rounds")
	provider := flag.String("provider", "cpu", "cpu or cuda")
	batch := flag.Int("batch", 16, "images of a batch")
	flag.Parse()
	if err := measure(*vitft, *run, *provider, *batch, *clients, *rounds, *load, *bare); err != nil {
		log.Fatal("bench/serve: ", err)
	}
}

// photo is an image and the label that the run gave it.
type photo struct {
	path, label string
	encoded     []byte
}

func measure(vitft, run, provider string, batch, clients, rounds int, load, bareFor time.Duration) error {
	photos, err := readPhotos(run)
	if err != nil {
		return err
	}
	alone, err := newBare(run, provider, batch, photos)
	if err != nil {
		return err
	}
	defer alone.model.Close()
	s, err := start(vitft, run, provider, batch)
	if err != nil {
		return err
	}
	defer s.cmd.Process.Kill()

	var t tally
	var hold sync.RWMutex // held by each request, and between rounds by us
	hold.Lock()
	all := attack(s, photos, clients, &t, &hold)
	var bare, served, ratios []float64
	var memory []string
	rate, err := alone.rate(bareFor)
	bare = append(bare, rate)
	for i := 0; i < rounds && err == nil; i++ {
		before, begin := t.answered(), time.Now()
		hold.Unlock()
		if i == rounds/3 || i == 2*rounds/3 {
			s.cmd.Process.Signal(syscall.SIGHUP)
		}
		time.Sleep(load / time.Duration(rounds))
		memory = append(memory, resident(s.cmd.Process.Pid))
		if i < rounds-1 { // at the end the clients go on
			hold.Lock()
		}
		served = append(served, float64(t.answered()-before)/time.Since(begin).Seconds())
		if i < rounds-1 {
			rate, err = alone.rate(bareFor)
			bare = append(bare, rate)
		}
	}
	if err != nil {
		return err
	}
	t.terminated.Store(true)
	end := time.Now()
	s.cmd.Process.Signal(syscall.SIGTERM)
	all.Wait()
	stopping := time.Since(end)
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("the server ended with %w", err)
	}
	if rate, err = alone.rate(bareFor); err != nil {
		return err
	}
	bare = append(bare, rate)
	for i, x := range served {
		ratios = append(ratios, x/((bare[i]+bare[i+1])/2))
	}

	fmt.Printf("%d CPUs, provider %s, %d clients for %v in %d rounds, %d photos\n", runtime.NumCPU(), provider, clients, load, rounds, len(photos))
	fmt.Printf("bare session, batches of %d: %.1f images/s (median of %.1f)\n", batch, median(bare), bare)
	fmt.Printf("server: %.1f images/s (median of %.1f)\n", median(served), served)
	fmt.Printf("server as a share of the bare runs before and after the round: %.3f (median of %.2f)\n", median(ratios), ratios)
	slices.Sort(t.latencies)
	at := func(q float64) time.Duration {
		return t.latencies[int(q*float64(len(t.latencies)-1))].Round(time.Millisecond)
	}
	fmt.Printf("latency: median %v, 95 %% %v, 99 %% %v\n", at(.5), at(.95), at(.99))
	fmt.Printf("%d answers, %d with the run's label; 2 reloads; ended %v after SIGTERM; %d requests not accepted after it\n", t.answers, t.right, stopping.Round(time.Millisecond), t.refused)
	fmt.Printf("memory after each round (MB resident): %s\n", strings.Join(memory, " "))
	if t.lost > 0 || t.right != t.answers {
		return fmt.Errorf("%d requests were lost, %d labels differ: %s", t.lost, t.answers-t.right, t.first)
	}
	return nil
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

func readPhotos(run string) ([]photo, error) {
	f, err := os.Open(filepath.Join(run, "predictions.csv"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, err
	}
	var photos []photo
	for _, row := range rows[1:] {
		encoded, err := os.ReadFile(row[0])
		if err != nil {
			return nil, err
		}
		photos = append(photos, photo{row[0], row[2], encoded})
	}
	return photos, nil
}

// bare is a session and a batch that is ready for it.
type bare struct {
	model   *onnx.ImageModel
	batch   int
	pixels  []float32
	outputs [][]float32
}

func newBare(run, provider string, batch int, photos []photo) (*bare, error) {
	c, err := classify.Open(run, classify.Options{Device: device.Options{Provider: provider}}) // loads the library and knows the preprocessing
	if err != nil {
		return nil, err
	}
	p := c.Preprocess()
	if err := c.Close(); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(run, "model.onnx"))
	if err != nil {
		return nil, err
	}
	m, err := onnx.NewImageModel(text, onnx.SessionOptions{Provider: onnx.Provider(provider)})
	if err != nil {
		return nil, err
	}
	a := &bare{model: m, batch: batch, pixels: make([]float32, batch*p.Size())}
	for i := range batch {
		if err := p.Bytes(photos[i%len(photos)].encoded, a.pixels[i*p.Size():(i+1)*p.Size()]); err != nil {
			return nil, err
		}
	}
	for _, v := range m.Outputs() {
		a.outputs = append(a.outputs, make([]float32, int64(batch)*v.Shape[1]))
	}
	return a, a.run() // the first is slower
}

func (a *bare) run() error {
	return a.model.Run(context.Background(), a.pixels, a.batch, a.outputs...)
}

// rate is the images a second, over so long at least.
func (a *bare) rate(least time.Duration) (float64, error) {
	images, begin := 0, time.Now()
	for time.Since(begin) < least {
		if err := a.run(); err != nil {
			return 0, err
		}
		images += a.batch
	}
	return float64(images) / time.Since(begin).Seconds(), nil
}

// server is a running `vitft serve`.
type server struct {
	cmd *exec.Cmd
	url string
}

func start(vitft, run, provider string, batch int) (*server, error) {
	cmd := exec.Command(vitft, "serve", "--model", run, "--addr", "127.0.0.1:0", "--provider", provider, "--batch", strconv.Itoa(batch), "--log-format", "json")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	found := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			var line struct{ Level, Message, URL string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.URL != "" {
				found <- line.URL
			}
			log.Printf("server: %s", lines.Text())
		}
		close(found)
	}()
	url, ok := <-found
	if !ok {
		return nil, fmt.Errorf("%s did not start: %w", vitft, cmd.Wait())
	}
	return &server{cmd, url}, nil
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
func attack(s *server, photos []photo, clients int, t *tally, hold *sync.RWMutex) *sync.WaitGroup {
	var next atomic.Int64
	var all sync.WaitGroup
	for range clients {
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

// notAccepted tells a connection that was refused, or closed before the request
// was read, from an answer that did not come.
func notAccepted(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && (op.Op == "dial" || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE))
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

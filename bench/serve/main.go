// Command serve measures `vitft serve` under load, against bare session runs of
// the same model on the same machine:
//
//	go build -o /tmp/vitft ./cmd/vitft
//	go run ./bench/serve -vitft /tmp/vitft -run RUN
//
// RUN is a finished run; its predictions.csv says which photos to send and which
// labels to expect. Bare runs of ready batches come before and after the load,
// which many clients make for some minutes, with two reloads (SIGHUP) on the way
// and SIGTERM at its end. It fails if an answer is missing, late, or other than
// the run's.
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

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/onnx"
)

func main() {
	log.SetFlags(0)
	vitft := flag.String("vitft", "bin/vitft", "the program to measure")
	run := flag.String("run", "run", "run folder with predictions.csv")
	clients := flag.Int("clients", 64, "clients at a time")
	load := flag.Duration("for", 3*time.Minute, "how long they ask")
	bare := flag.Duration("bare", 30*time.Second, "bare session runs before and after")
	provider := flag.String("provider", "cpu", "cpu or cuda")
	batch := flag.Int("batch", 16, "images of a batch")
	flag.Parse()
	if err := measure(*vitft, *run, *provider, *batch, *clients, *load, *bare); err != nil {
		log.Fatal("bench/serve: ", err)
	}
}

// photo is an image and the label that the run gave it.
type photo struct {
	path, label string
	encoded     []byte
}

func measure(vitft, run, provider string, batch, clients int, load, bareFor time.Duration) error {
	photos, err := readPhotos(run)
	if err != nil {
		return err
	}
	before, err := bareRate(run, provider, batch, photos, bareFor)
	if err != nil {
		return err
	}
	s, err := start(vitft, run, provider, batch)
	if err != nil {
		return err
	}
	defer s.cmd.Process.Kill()
	t := &tally{}
	stopping, memory := attack(s, photos, clients, load, t)
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("the server ended with %w", err)
	}
	after, err := bareRate(run, provider, batch, photos, bareFor)
	if err != nil {
		return err
	}
	rate := float64(t.inTime) / load.Seconds()
	slices.Sort(t.latencies)
	quantile := func(q float64) time.Duration {
		return t.latencies[int(q*float64(len(t.latencies)-1))].Round(time.Millisecond)
	}
	fmt.Printf("%d CPUs, provider %s, %d clients for %v, %d photos\n", runtime.NumCPU(), provider, clients, load, len(photos))
	fmt.Printf("bare session, batches of %d: %.1f images/s before, %.1f after\n", batch, before, after)
	fmt.Printf("server: %.1f images/s, %.3f of bare; latency median %v, 95 %% %v, 99 %% %v\n", rate, rate/((before+after)/2), quantile(.5), quantile(.95), quantile(.99))
	fmt.Printf("answers %d, of them with the run's label %d; reloads 2, the last %v after SIGTERM; not accepted after SIGTERM %d\n", t.answers, t.right, stopping.Round(time.Millisecond), t.refused)
	fmt.Printf("memory (MB resident): %s\n", memory)
	if t.lost > 0 || t.right != t.answers {
		return fmt.Errorf("%d requests were lost, %d labels differ: %s", t.lost, t.answers-t.right, t.first)
	}
	return nil
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

// bareRate is the images a second of session runs on a batch that is ready.
func bareRate(run, provider string, batch int, photos []photo, least time.Duration) (float64, error) {
	c, err := engine.OpenClassifier(run, engine.ClassifierOptions{Provider: provider}) // loads the library and knows the preprocessing
	if err != nil {
		return 0, err
	}
	p := c.Preprocess()
	if err := c.Close(); err != nil {
		return 0, err
	}
	text, err := os.ReadFile(filepath.Join(run, "model.onnx"))
	if err != nil {
		return 0, err
	}
	m, err := onnx.NewImageModel(text, onnx.SessionOptions{Provider: onnx.Provider(provider)})
	if err != nil {
		return 0, err
	}
	defer m.Close()
	pixels := make([]float32, batch*p.Size())
	for i := range batch {
		if err := p.Bytes(photos[i%len(photos)].encoded, pixels[i*p.Size():(i+1)*p.Size()]); err != nil {
			return 0, err
		}
	}
	var outputs [][]float32
	for _, v := range m.Outputs() {
		outputs = append(outputs, make([]float32, int64(batch)*v.Shape[1]))
	}
	runOnce := func() error { return m.Run(context.Background(), pixels, batch, outputs...) }
	if err := runOnce(); err != nil { // the first is slower
		return 0, err
	}
	images, begin := 0, time.Now()
	for time.Since(begin) < least {
		if err := runOnce(); err != nil {
			return 0, err
		}
		images += batch
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
	sync.Mutex
	answers, right, refused, lost int
	inTime                        int // answered before the load ended
	latencies                     []time.Duration
	first                         string // thing that went wrong
}

func (t *tally) wrong(format string, a ...any) {
	if t.first == "" {
		t.first = fmt.Sprintf(format, a...)
	}
}

// attack lets clients ask until SIGTERM has ended the server, and returns how
// long that took and its memory every tenth of the time.
func attack(s *server, photos []photo, clients int, load time.Duration, t *tally) (stopping time.Duration, memory string) {
	var next atomic.Int64
	var terminated atomic.Bool
	begin := time.Now()
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: 2 * time.Minute}
			for {
				p := photos[int(next.Add(1)-1)%len(photos)]
				asked := time.Now()
				label, err := ask(client, s.url, p.encoded)
				took := time.Since(asked)
				if err != nil && terminated.Load() && notAccepted(err) {
					t.Lock()
					t.refused++
					t.Unlock()
					return
				}
				t.Lock()
				switch {
				case err != nil:
					t.lost++
					t.wrong("%s: %v", p.path, err)
				default:
					t.answers++
					t.latencies = append(t.latencies, took)
					if time.Since(begin) <= load {
						t.inTime++
					}
					if label == p.label {
						t.right++
					} else {
						t.wrong("%s: %s, the run said %s", p.path, label, p.label)
					}
				}
				t.Unlock()
				if err != nil && terminated.Load() {
					return
				}
			}
		})
	}
	var samples []string
	for i := range 10 {
		time.Sleep(load / 10)
		samples = append(samples, resident(s.cmd.Process.Pid))
		if i == 2 || i == 6 {
			s.cmd.Process.Signal(syscall.SIGHUP)
		}
	}
	terminated.Store(true)
	s.cmd.Process.Signal(syscall.SIGTERM)
	end := time.Now()
	all.Wait()
	return time.Since(end), strings.Join(samples, " ")
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

// Package watch shows a run or a sweep in a browser while it is going: on this machine, to nobody else.
//
// # Basics
//
//	w, err := watch.Listen("localhost:8081", "run")
//	events := w.Events(events)        // passes on what it shows
//	options.OnEpoch = w.Epoch
//	result, err := engine.Finetune(ctx, options, events)
//	w.End(err)                        // shows the report to whoever is looking, and stops
//
// The page asks for the state once a second and is answered from memory, so that whoever looks changes nothing of the
// run: not a bit of what it learns, and no more of its time than a figure an epoch takes to draw. Nothing can be done
// by the page but look.
package watch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/report"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/head"
	"github.com/vitft/vitft/internal/loopback"
	"github.com/vitft/vitft/internal/userfile"
)

const (
	mostNotes = 100             // warnings that are kept
	looking   = 3 * time.Second // since it last asked a page counts as one that somebody looks at
	patience  = 5 * time.Second // that such a page is given to fetch the report
)

// Watch is the server of one run.
type Watch struct {
	dir      run.Folder
	listener net.Listener
	server   *http.Server

	mu       sync.Mutex
	stages   []*stage
	history  []head.Epoch
	drawn    int // epochs of the figures
	figures  map[string]string
	warnings []string
	more     int // warnings that are not kept
	ended    bool
	fault    string
	asked    time.Time     // when a page last asked
	served   chan struct{} // closed when the end was told: with a report, when that was fetched
	once     sync.Once
}

// stage is how far one stage of the work is.
type stage struct {
	Name  string  `json:"name"`
	Done  int     `json:"done"`
	Total int     `json:"total"`
	Unit  string  `json:"unit"`
	Rate  float64 `json:"rate"` // a second; 0: not known yet
	Left  float64 `json:"left"` // seconds

	begun time.Time
	first int // what was done then
}

// Listen begins to show what will be written to a folder. The address is one of this machine's for itself.
func Listen(addr, dir string) (*Watch, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fault.Config.Errorf("watch: %q is no address, such as localhost:8081", addr)
	}
	if host == "" || !loopback.Named(host) {
		return nil, fault.Config.Errorf("watch: %s is not this machine alone: the page has no token, so it is for "+
			"localhost only; from elsewhere go through ssh -L", addr)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fault.Config.Errorf("watch: %w; port 0 is a free one", err)
	}
	if !loopback.Is(l.Addr()) {
		err := fault.Config.Errorf("watch: %s means %s, which is not this machine alone", addr, l.Addr())
		return nil, errors.Join(err, l.Close())
	}
	w := &Watch{dir: run.Folder(dir), listener: l, served: make(chan struct{})}
	w.server = &http.Server{Handler: w.handler(), ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
		MaxHeaderBytes: 16 << 10}
	go w.server.Serve(l) // until End
	return w, nil
}

// URL is where the page is.
func (w *Watch) URL() string { return fmt.Sprintf("http://%s/", w.listener.Addr()) }

// Events are ev, and what they say on the page.
func (w *Watch) Events(ev event.Events) event.Events {
	note, progress := ev.Note, ev.Progress
	ev.Note = func(level event.Level, message string, kv ...any) {
		if level == event.Warning {
			var texts []string
			event.Events{}.Recording(&texts).Warn(message, kv...)
			w.warn(texts...)
		}
		if note != nil {
			note(level, message, kv...)
		}
	}
	ev.Progress = func(s event.Stage, what string, done, total int) {
		w.progress(s, what, done, total)
		if progress != nil {
			progress(s, what, done, total)
		}
	}
	return ev
}

func (w *Watch) warn(texts ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.warnings = append(w.warnings, texts...)
	if n := len(w.warnings) - mostNotes; n > 0 {
		w.warnings, w.more = w.warnings[:mostNotes], w.more+n
	}
}

func (w *Watch) progress(s event.Stage, what string, done, total int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	name := fmt.Sprintf("%s %s", s, what)
	at := slices.IndexFunc(w.stages, func(s *stage) bool { return s.Name == name })
	if at < 0 || w.stages[at].Done > done { // it begins, or begins anew
		if at >= 0 {
			w.stages = slices.Delete(w.stages, at, at+1)
		}
		w.stages = append(w.stages, &stage{Name: name, Unit: s.Unit(), begun: time.Now(), first: done})
		at = len(w.stages) - 1
	}
	x := w.stages[at]
	x.Done, x.Total = done, total
	if took := time.Since(x.begun).Seconds(); done > x.first && took > 0 {
		x.Rate = float64(done-x.first) / took
		x.Left = float64(total-done) / x.Rate
	}
}

// Epoch adds an epoch to the curves.
func (w *Watch) Epoch(e head.Epoch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e.Kappa = nil // of all classes in all epochs, which no figure shows
	w.history = append(w.history, e)
}

// End says that the work has ended, with its error or a report, waits a few seconds for a page that is being looked at
// to fetch that, and stops.
func (w *Watch) End(err error) error {
	w.mu.Lock()
	w.ended = true
	if err != nil {
		w.fault = err.Error()
	}
	looked := time.Since(w.asked) < looking
	w.mu.Unlock()
	if looked {
		select {
		case <-w.served:
		case <-time.After(patience):
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := w.server.Shutdown(ctx); err != nil {
		return w.server.Close()
	}
	return nil
}

func (w *Watch) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(rw http.ResponseWriter, _ *http.Request) {
		send(rw, "text/html; charset=utf-8", report.LivePage(string(w.dir)))
	})
	mux.HandleFunc("GET /state", w.state)
	mux.HandleFunc("GET /report.html", w.report)
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !loopback.Named(r.Host) {
			http.Error(rw, fmt.Sprintf("this page is for %s, not for %q", w.listener.Addr(), r.Host),
				http.StatusMisdirectedRequest)
			return
		}
		rw.Header().Set("X-Content-Type-Options", "nosniff")
		rw.Header().Set("Referrer-Policy", "no-referrer")
		rw.Header().Set("X-Frame-Options", "DENY")
		rw.Header().Set("Cache-Control", "no-store")
		mux.ServeHTTP(rw, r)
	})
}

func send(rw http.ResponseWriter, kind string, content []byte) {
	rw.Header().Set("Content-Type", kind)
	rw.Header().Set("Content-Length", strconv.Itoa(len(content)))
	rw.Write(content)
}

// state answers with what the page shows; figures only if it has those of fewer epochs.
func (w *Watch) state(rw http.ResponseWriter, r *http.Request) {
	known, _ := strconv.Atoi(r.URL.Query().Get("epochs"))
	w.mu.Lock()
	w.asked = time.Now()
	history := w.history[:len(w.history):len(w.history)]
	draw := len(history) != w.drawn
	w.mu.Unlock()
	var figures map[string]string
	if draw { // outside the lock, which the run waits for
		figures = report.Curves(history)
	}
	w.mu.Lock()
	if draw {
		w.figures, w.drawn = figures, len(history)
	}
	answer := struct {
		Stages   []stage           `json:"stages"`
		Epochs   int               `json:"epochs"`
		Figures  map[string]string `json:"figures,omitempty"`
		Warnings []string          `json:"warnings"`
		More     int               `json:"more"`
		Ended    bool              `json:"ended"`
		Error    string            `json:"error,omitempty"`
		Report   bool              `json:"report"`
	}{Epochs: w.drawn, Warnings: w.warnings, More: w.more, Ended: w.ended, Error: w.fault,
		Report: w.ended && w.fault == "" && run.ReportFile.Exists(w.dir)}
	for _, s := range w.stages {
		answer.Stages = append(answer.Stages, *s)
	}
	if known != w.drawn {
		answer.Figures = w.figures
	}
	text, err := json.Marshal(answer)
	w.mu.Unlock()
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	send(rw, "application/json", text)
	if answer.Ended && !answer.Report {
		w.once.Do(func() { close(w.served) })
	}
}

func (w *Watch) report(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	ended := w.ended
	w.mu.Unlock()
	if !ended { // what is there may be of an earlier run
		http.Error(rw, "the run is still going", http.StatusNotFound)
		return
	}
	content, err := userfile.Read(run.ReportFile.Path(w.dir), userfile.Image)
	if err != nil {
		http.Error(rw, "there is no report", http.StatusNotFound)
		return
	}
	send(rw, "text/html; charset=utf-8", content)
	w.once.Do(func() { close(w.served) })
}

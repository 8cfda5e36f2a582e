package work

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/internal/loopback"
)

// metrics is what a worker's /metrics shows.
type metrics struct {
	registry    *prometheus.Registry
	tasks       *prometheus.CounterVec // outcome
	images      *prometheus.CounterVec // outcome
	bytes       prometheus.Counter
	seconds     *prometheus.HistogramVec // step
	inFlight    prometheus.Gauge
	heartbeat   prometheus.Gauge
	redelivered prometheus.Counter
}

// Outcomes of a task.
const (
	taskDone      = "done"
	taskFound     = "found" // done already
	taskFailed    = "failed"
	taskGivenUp   = "given_up"
	taskGivenBack = "given_back"
)

func newMetrics(name string, ready func() bool) *metrics {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	auto := promauto.With(registry)
	auto.NewGaugeVec(prometheus.GaugeOpts{Name: "vitft_worker_info",
		Help: "1 for the name by which the worker is known to others."}, []string{"name"}).WithLabelValues(name).Set(1)
	m := &metrics{
		registry: registry,
		tasks: auto.NewCounterVec(prometheus.CounterOpts{Name: "vitft_worker_tasks_total",
			Help: "Tasks that came, by what became of them; found ones were done already."}, []string{"outcome"}),
		images: auto.NewCounterVec(prometheus.CounterOpts{Name: "vitft_worker_images_total",
			Help: "Images encoded, and images that cannot be used."}, []string{"outcome"}),
		bytes: auto.NewCounter(prometheus.CounterOpts{Name: "vitft_worker_image_bytes_total",
			Help: "Bytes of images that were read."}),
		seconds: auto.NewHistogramVec(prometheus.HistogramOpts{Name: "vitft_worker_task_seconds",
			Help: "Seconds of a task: read is the sum over the threads that read its images, encode the time from " +
				"the first image to the last feature, publish that of writing to the bucket.",
			Buckets: []float64{.01, .03, .1, .3, 1, 3, 10, 30, 100, 300, 1000}}, []string{"step"}),
		inFlight: auto.NewGauge(prometheus.GaugeOpts{Name: "vitft_worker_tasks_in_flight",
			Help: "Tasks that the worker has: two while it publishes one and encodes the next."}),
		heartbeat: auto.NewGauge(prometheus.GaugeOpts{Name: "vitft_worker_heartbeat_timestamp_seconds",
			Help: "When the queue was last told, or asked for, a task, in seconds since 1970."}),
		redelivered: auto.NewCounter(prometheus.CounterOpts{Name: "vitft_worker_redeliveries_total",
			Help: "Tasks that the queue had given out before, to this worker or another."}),
	}
	auto.NewGaugeFunc(prometheus.GaugeOpts{Name: "vitft_worker_ready",
		Help: "1 while the queue is reached, so that a task may come; /readyz says the same."}, func() float64 {
		if ready() {
			return 1
		}
		return 0
	})
	for _, outcome := range []string{taskDone, taskFound, taskFailed, taskGivenUp, taskGivenBack} {
		m.tasks.WithLabelValues(outcome)
	}
	m.images.WithLabelValues("encoded")
	m.images.WithLabelValues("bad")
	return m
}

// block counts what a task has made.
func (m *metrics) block(b *feature.Block, r Record, publish time.Duration) {
	bad := r.bad()
	m.images.WithLabelValues("encoded").Add(float64(len(r.Images) - bad))
	m.images.WithLabelValues("bad").Add(float64(bad))
	m.bytes.Add(float64(b.Bytes))
	m.seconds.WithLabelValues("read").Observe(b.Reading.Seconds())
	m.seconds.WithLabelValues("encode").Observe(b.Encoding.Seconds())
	m.seconds.WithLabelValues("publish").Observe(publish.Seconds())
}

// beat notes that the queue has heard of this worker.
func (m *metrics) beat() { m.heartbeat.SetToCurrentTime() }

// serveMetrics answers at an address until ctx ends: /metrics, /healthz while the process lives, /readyz while it could
// be given tasks.
func (w *worker) serveMetrics(ctx context.Context, address string) (stop func(), err error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fault.Config.Errorf("metrics: %w; name another address, port 0 is a free one", err)
	}
	w.events.Info("metrics", "address", l.Addr().String())
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(w.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(to http.ResponseWriter, _ *http.Request) { fmt.Fprintln(to, "ok") })
	mux.HandleFunc("GET /readyz", func(to http.ResponseWriter, _ *http.Request) {
		switch {
		case ctx.Err() != nil:
			http.Error(to, "it ends", http.StatusServiceUnavailable)
		case !w.ready():
			http.Error(to, "the queue is not reached", http.StatusServiceUnavailable)
		default:
			fmt.Fprintln(to, "ok")
		}
	})
	server := &http.Server{ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: 1 << 16,
		Handler: http.HandlerFunc(func(to http.ResponseWriter, r *http.Request) {
			if loopback.Is(l.Addr()) && !loopback.Named(r.Host, address) {
				http.Error(to, "not under this host name", http.StatusMisdirectedRequest)
				return
			}
			mux.ServeHTTP(to, r)
		})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			w.events.Warn("metrics are not served any more", "reason", err)
		}
	}()
	return func() { _ = server.Close(); <-ended }, nil
}

// ready says whether the queue is reached.
func (w *worker) ready() bool { return w.reached.Load() && w.queue.nats.IsConnected() }

// reaches notes whether the queue has answered.
func (w *worker) reaches(yes bool) {
	if w.reached.Store(yes); yes {
		w.metrics.beat()
	}
}

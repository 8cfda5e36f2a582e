package serve

import (
	"math"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics is what /metrics shows.
type metrics struct {
	registry   *prometheus.Registry
	requests   *prometheus.CounterVec   // route, code
	seconds    *prometheus.HistogramVec // route
	imageCount *prometheus.CounterVec   // model, outcome
	batches    prometheus.Histogram
	runs       prometheus.Histogram
	reloads    *prometheus.CounterVec // model, outcome
	loadedAt   *prometheus.GaugeVec   // model
	info       *prometheus.GaugeVec   // model, sha256, provider

	perImage atomic.Uint64 // bits of the seconds that an image takes, of late
}

func newMetrics(s *Server) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	now := func(name, help string, value func() float64) prometheus.GaugeFunc {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	histogram := func(name, help string, buckets ...float64) prometheus.HistogramOpts {
		return prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}
	}
	latency := []float64{.002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 20, 60}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: counter("vitft_http_requests_total",
			"Requests answered, by route and status; 499 is a client that went away.", "route", "code"),
		seconds: prometheus.NewHistogramVec(histogram("vitft_http_request_seconds",
			"Time from a request's header to its answer.", latency...), []string{"route"}),
		imageCount: counter("vitft_images_total",
			"Images classified, and images that could not be.", "model", "outcome"),
		batches: prometheus.NewHistogram(histogram("vitft_batch_images",
			"Images in a run of a model.", 1, 2, 4, 8, 12, 16, 24, 32, 64, 128)),
		runs:    prometheus.NewHistogram(histogram("vitft_batch_seconds", "Time of a run of a model.", latency...)),
		reloads: counter("vitft_reloads_total", "Reloads of a model.", "model", "outcome"),
		loadedAt: gauge("vitft_model_loaded_timestamp_seconds",
			"When the model was loaded, in seconds since 1970.", "model"),
		info: gauge("vitft_model_info",
			"1 for the file and the provider that answer.", "model", "sha256", "provider"),
	}
	m.registry.MustRegister(
		m.requests, m.seconds, m.imageCount, m.batches, m.runs, m.reloads, m.loadedAt, m.info,
		now("vitft_waiting_images", "Images accepted and not yet answered.",
			func() float64 { return float64(s.waiting.Load()) }),
		now("vitft_queue_images", "Images that may be accepted at a time.",
			func() float64 { return float64(s.options.Queue) }),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

func (m *metrics) show(w http.ResponseWriter, r *http.Request) error {
	promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}).ServeHTTP(w, r)
	return nil
}

func (m *metrics) answered(route string, status int, took time.Duration) {
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(route).Observe(took.Seconds())
}

func (m *metrics) images(model string, classified, failed int) {
	m.imageCount.WithLabelValues(model, "classified").Add(float64(classified))
	m.imageCount.WithLabelValues(model, "failed").Add(float64(failed))
}

// batch follows each run of a model.
func (m *metrics) batch(images int, took time.Duration) {
	m.batches.Observe(float64(images))
	m.runs.Observe(took.Seconds())
	mean, now := math.Float64frombits(m.perImage.Load()), took.Seconds()/float64(images)
	if mean > 0 {
		now = 0.9*mean + 0.1*now
	}
	m.perImage.Store(math.Float64bits(now)) // of two models at once one may be lost: it is an estimate
}

// secondsFor estimates how long so many images will take: 1 to 60 seconds.
func (m *metrics) secondsFor(images int64) int {
	return int(min(max(math.Ceil(float64(images)*math.Float64frombits(m.perImage.Load())), 1), 60))
}

// loaded shows what a model is now.
func (m *metrics) loaded(x *model) {
	g, done := x.use()
	defer done()
	m.loadedAt.WithLabelValues(x.name).Set(float64(g.loaded.UnixMilli()) / 1000)
	m.info.DeletePartialMatch(prometheus.Labels{"model": x.name})
	m.info.WithLabelValues(x.name, g.Info().SHA256, g.Info().Provider).Set(1)
}

func (m *metrics) reloaded(x *model, err error) {
	outcome := "done"
	if err != nil {
		outcome = "failed"
	}
	m.reloads.WithLabelValues(x.name, outcome).Inc()
	m.loaded(x)
}

package serve

import (
	"math"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
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
	inCommon   *prometheus.GaugeVec   // model

	perImage atomic.Uint64 // bits of the seconds that an image takes, of late
}

func newMetrics(s *Server) *metrics {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	auto := promauto.With(registry)
	auto.NewGaugeFunc(prometheus.GaugeOpts{Name: "vitft_waiting_images", Help: "Images accepted and not yet answered."},
		func() float64 { return float64(s.waiting.Load()) })
	auto.NewGaugeFunc(prometheus.GaugeOpts{Name: "vitft_queue_images", Help: "Images that may be accepted at a time."},
		func() float64 { return float64(s.options.Queue) })
	latency := []float64{.002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 20, 60}
	return &metrics{
		registry: registry,
		requests: auto.NewCounterVec(prometheus.CounterOpts{Name: "vitft_http_requests_total",
			Help: "Requests answered, by route and status; 499 is a client that went away."},
			[]string{"route", "code"}),
		seconds: auto.NewHistogramVec(prometheus.HistogramOpts{Name: "vitft_http_request_seconds",
			Help: "Time from a request's header to its answer.", Buckets: latency}, []string{"route"}),
		imageCount: auto.NewCounterVec(prometheus.CounterOpts{Name: "vitft_images_total",
			Help: "Images classified, and images that could not be."}, []string{"model", "outcome"}),
		batches: auto.NewHistogram(prometheus.HistogramOpts{Name: "vitft_batch_images",
			Help: "Images in a run of a model.", Buckets: []float64{1, 2, 4, 8, 12, 16, 24, 32, 64, 128}}),
		runs: auto.NewHistogram(prometheus.HistogramOpts{Name: "vitft_batch_seconds",
			Help: "Time of a run of a model.", Buckets: latency}),
		reloads: auto.NewCounterVec(prometheus.CounterOpts{Name: "vitft_reloads_total",
			Help: "Reloads of a model."}, []string{"model", "outcome"}),
		loadedAt: auto.NewGaugeVec(prometheus.GaugeOpts{Name: "vitft_model_loaded_timestamp_seconds",
			Help: "When the model was loaded, in seconds since 1970."}, []string{"model"}),
		info: auto.NewGaugeVec(prometheus.GaugeOpts{Name: "vitft_model_info",
			Help: "1 for the file and the provider that answer."}, []string{"model", "sha256", "provider"}),
		inCommon: auto.NewGaugeVec(prometheus.GaugeOpts{Name: "vitft_model_bytes_in_common",
			Help: "Bytes of weights that are in memory once for this model and others."}, []string{"model"}),
	}
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
	m.inCommon.WithLabelValues(x.name).Set(float64(g.Info().InCommon))
}

func (m *metrics) reloaded(x *model, err error) {
	outcome := "done"
	if err != nil {
		outcome = "failed"
	}
	m.reloads.WithLabelValues(x.name, outcome).Inc()
	m.loaded(x)
}

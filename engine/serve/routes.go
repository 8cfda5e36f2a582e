package serve

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/internal/loopback"
	"github.com/vitft/vitft/onnx/graph"
)

// handler answers a request, or says why not; wrap makes an answer of that.
type handler func(http.ResponseWriter, *http.Request) error

// route is one way to ask.
type route struct {
	pattern string // of http.ServeMux
	public  bool   // asks for no token
	handle  handler
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	for _, r := range append(s.table(), s.callRoutes()...) {
		mux.Handle(strings.TrimSuffix(r.pattern, predictVerb), s.wrap(r))
	}
	unknown := s.wrap(route{"unknown", true, func(w http.ResponseWriter, r *http.Request) error {
		verdict := &tally{ResponseWriter: discard{w.Header()}} // 404, or 405 with the methods that would do
		mux.ServeHTTP(verdict, r)
		if isCall(r) {
			return &failure{http.StatusNotImplemented, "not implemented: " + r.URL.Path}
		}
		what := strings.ToLower(http.StatusText(verdict.status))
		return &failure{verdict.status, fmt.Sprintf("%s: %s %s; see /openapi.json", what, r.Method, r.URL.Path)}
	}})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern == "" {
			unknown.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (s *Server) table() []route {
	return []route{
		{"GET /{$}", true, page("index.html")},
		{"GET /app.js", true, page("app.js")},
		{"GET /style.css", true, page("style.css")},
		{"GET /openapi.json", false, file("openapi.json")},
		{"GET /healthz", true, s.live},
		{"GET /readyz", true, s.ready},
		{"GET /metrics", false, s.metrics.show},
		{"GET /v1/models", false, s.listModels},
		{"GET /v1/models/{model}", false, s.about(s.showModel)},
		{"GET /v1/models/{model}/card", false, s.about(showCard)},
		{"POST /v1/classify", false, s.classify},
		{"POST /v1/explain", false, s.explain},
		{"POST /v1/models/{model}" + predictVerb, false, s.predictV1},
		{"POST /v1/models/{model}/versions/{version}" + predictVerb, false, s.predictV1},
		{"GET /v2", false, s.inferServer},
		{"GET /v2/health/live", true, s.live},
		{"GET /v2/health/ready", true, s.ready},
		{"GET /v2/models/{model}", false, s.about(inferModel)},
		{"GET /v2/models/{model}/ready", false, s.about(inferReady)},
		{"POST /v2/models/{model}/infer", false, s.infer},
		{"GET /v2/models/{model}/versions/{version}", false, s.about(inferModel)},
		{"GET /v2/models/{model}/versions/{version}/ready", false, s.about(inferReady)},
		{"POST /v2/models/{model}/versions/{version}/infer", false, s.infer},
		{"GET /v2/models/{model}/config", false, s.about(s.inferConfig)},
		{"GET /v2/models/{model}/versions/{version}/config", false, s.about(s.inferConfig)},
		{"GET /v2/models/stats", false, s.inferStatistics},
		{"GET /v2/models/{model}/stats", false, s.about(inferModelStatistics)},
		{"GET /v2/models/{model}/versions/{version}/stats", false, s.about(inferModelStatistics)},
		{"POST /v2/repository/index", false, s.repository},
	}
}

// wrap does for every route what is the same for all: counting, and making an answer of an error.
func (s *Server) wrap(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		t := &tally{ResponseWriter: w}
		defer func() {
			if p := recover(); p != nil {
				s.fail(t, r, s.panicked(rt.pattern, p, debug.Stack()))
			}
			took := time.Since(begin)
			s.metrics.answered(rt.pattern, t.status, took)
			if s.options.LogRequests {
				s.options.Events.Info("request", "method", r.Method, "path", r.URL.Path, "status", t.status,
					"bytes", t.bytes, "seconds", took.Seconds(), "from", r.RemoteAddr)
			}
		}()
		if err := s.admit(rt, t, r); err != nil {
			s.fail(t, r, err)
		}
	})
}

// admit has a request answered if it has the token, within the limits of time and size.
func (s *Server) admit(rt route, t *tally, r *http.Request) error {
	if s.draining.Load() {
		t.Header().Set("Connection", "close")
	}
	t.Header().Set("X-Content-Type-Options", "nosniff")
	if !rt.public && !s.allowed(r) {
		t.Header().Set("WWW-Authenticate", "Bearer")
		return &failure{http.StatusUnauthorized, "this server asks for a token: Authorization: Bearer TOKEN"}
	}
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		text := "Content-Encoding " + e + " is not taken; images are compressed already"
		return &failure{http.StatusUnsupportedMediaType, text}
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.options.Timeout)
	defer cancel()
	r = r.WithContext(ctx)
	b := &body{s: s, conn: http.NewResponseController(t), end: time.Now().Add(s.options.Timeout)}
	b.ReadCloser = http.MaxBytesReader(t.ResponseWriter, r.Body, s.options.MaxBody) // which it tells to close
	r.Body = b
	defer func() { s.bodies.Add(-b.held) }()
	err := rt.handle(t, r)
	if err != nil && b.held > 0 {
		io.Copy(io.Discard, b) // many clients read no answer before they have sent all
	}
	return err
}

// handlerFor is the handler of a listener: what listens to this machine only and asks for no token is answered under
// this machine's own names only.
func (s *Server) handlerFor(addr net.Addr) http.Handler {
	if !loopback.Is(addr) || s.options.Token != "" {
		return s.handler
	}
	foreign := s.wrap(route{"foreign host", true, func(_ http.ResponseWriter, r *http.Request) error {
		text := fmt.Sprintf("this server is for %s, not for %q: a proxy before it must ask for localhost, or the "+
			"server have a token", addr, r.Host)
		return &failure{http.StatusMisdirectedRequest, text}
	}})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if loopback.Named(r.Host, s.options.Addr) {
			s.handler.ServeHTTP(w, r)
		} else {
			foreign.ServeHTTP(w, r)
		}
	})
}

func (s *Server) allowed(r *http.Request) bool {
	if s.options.Token == "" {
		return true
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	got, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(s.options.Token)) // equally long
	return ok && subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

// failure is an error with the status it is answered with.
type failure struct {
	status int
	text   string
}

func (f *failure) Error() string { return f.text }

func badRequest(format string, a ...any) error {
	return &failure{http.StatusBadRequest, fmt.Sprintf(format, a...)}
}

// statusCanceled is for the metrics: nobody waits for the answer.
const statusCanceled = 499

// panicked is the error of what has failed inside.
func (s *Server) panicked(where string, p any, stack []byte) error {
	s.options.Events.Warn("a request failed inside; please report it",
		"route", where, "panic", fmt.Sprint(p), "stack", string(stack))
	return &failure{http.StatusInternalServerError, "internal error"}
}

// verdict is the status of an error, that of its kind except for what only HTTP knows, and what to say of it, which may
// quote the request.
func (s *Server) verdict(path string, err error) (status int, text string) {
	status, text = fault.Of(err).Consequence().Status, err.Error()
	if f, ok := errors.AsType[*failure](err); ok {
		status = f.status
	} else if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		status, text = http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", large.Limit)
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		status, text = http.StatusRequestTimeout, "the body did not arrive in time"
	} else if errors.Is(err, context.DeadlineExceeded) {
		text = fmt.Sprintf("not answered within %v", s.options.Timeout)
	} else if errors.Is(err, context.Canceled) {
		status = statusCanceled
	} else if errors.Is(err, graph.ErrModel) {
		status = http.StatusInternalServerError // it loaded, and does not run: no fault of the request
	}
	if status == http.StatusInternalServerError {
		s.options.Events.Warn("a request failed", "path", path, "error", err.Error())
	}
	return status, fmt.Sprintf("%.*s", mostText, text)
}

// retryAfter is when to try again what has failed with a status, if that is worth it.
func (s *Server) retryAfter(status int) string {
	if status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable {
		return ""
	}
	return strconv.Itoa(s.metrics.secondsFor(s.waiting.Load()))
}

// fail answers with an error.
func (s *Server) fail(t *tally, r *http.Request, err error) {
	status, text := s.verdict(r.URL.Path, err)
	if again := s.retryAfter(status); again != "" {
		t.Header().Set("Retry-After", again)
	}
	if isCall(r) {
		failCall(t, status, text, err)
		return
	}
	answer(t, status, map[string]string{"error": text})
}

// answer writes v as JSON.
func answer(w http.ResponseWriter, status int, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	return send(w, status, append(text, '\n'))
}

// send writes a body. That the client does not take it is no error of ours.
func send(w http.ResponseWriter, status int, body ...[]byte) error {
	n := 0
	for _, b := range body {
		n += len(b)
	}
	w.Header().Set("Content-Length", strconv.Itoa(n))
	w.WriteHeader(status)
	for _, b := range body {
		w.Write(b)
	}
	return nil
}

func (s *Server) live(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, http.StatusOK, map[string]bool{"live": true})
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) error {
	if s.draining.Load() {
		return answer(w, http.StatusServiceUnavailable, map[string]any{"ready": false, "error": "stopping"})
	}
	return answer(w, http.StatusOK, map[string]bool{"ready": true})
}

// enter takes places in the queue for images whose bodies have arrived; none only asks whether there is one, so that
// refusing costs no reading.
func (s *Server) enter(images int) (leave func(), err error) {
	n := int64(images)
	for {
		now := s.waiting.Load()
		if now+max(n, 1) > int64(s.options.Queue) {
			return nil, &failure{http.StatusTooManyRequests,
				"too many images are waiting; try again after the seconds that Retry-After says"}
		}
		if s.waiting.CompareAndSwap(now, now+n) {
			return func() { s.waiting.Add(-n) }, nil
		}
	}
}

// tally counts what is written.
type tally struct {
	http.ResponseWriter
	status, bytes int
}

func (t *tally) WriteHeader(status int) {
	if t.status == 0 {
		t.status = status
	}
	t.ResponseWriter.WriteHeader(status)
}

func (t *tally) Write(b []byte) (int, error) {
	if t.status == 0 {
		t.status = http.StatusOK
	}
	n, err := t.ResponseWriter.Write(b)
	t.bytes += n
	return n, err
}

// Flush is for gRPC.
func (t *tally) Flush() { http.NewResponseController(t.ResponseWriter).Flush() }

// Unwrap is for http.ResponseController.
func (t *tally) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// discard takes the header of an answer, and nothing else.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

package cloud_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/internal/testkit"
)

// unreliable stands before a server: of the requests it refuses some, does others without a word of it, and breaks off
// in the middle of answers.
func unreliable(t *testing.T, server string) string {
	t.Helper()
	target, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // which is signed
	}}
	var requests, puts, gets atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case requests.Add(1)%3 == 0:
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.Method == http.MethodPut && puts.Add(1)%2 == 1: // done, and the answer lost
			forward.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		case r.Method == http.MethodGet && !r.URL.Query().Has("list-type") && gets.Add(1)%2 == 1:
			full := httptest.NewRecorder()
			forward.ServeHTTP(full, r)
			for key, values := range full.Header() {
				w.Header()[key] = values
			}
			w.WriteHeader(full.Code)
			w.Write(full.Body.Bytes()[:full.Body.Len()/2])
			panic(http.ErrAbortHandler)
		default:
			forward.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(proxy.Close)
	return proxy.URL
}

// What must not be read is no object that is not there, and is said at once and on one line, whatever the provider's
// driver takes it for.
func TestForbidden(t *testing.T) {
	testkit.AzureCredentials(t)
	empty := map[string]string{"gs": `{"kind":"storage#objects"}`, "azblob": "<EnumerationResults><Blobs/></EnumerationResults>"}
	for scheme, list := range empty {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if q := r.URL.Query(); q.Has("prefix") || q.Has("comp") {
				fmt.Fprint(w, list)
				return
			}
			w.Header().Set("x-ms-error-code", "AuthorizationFailure")
			w.WriteHeader(http.StatusForbidden)
		}))
		address := strings.TrimPrefix(server.URL, "http://")
		t.Setenv("STORAGE_EMULATOR_HOST", address)
		b := open(t, scheme+"://photos"+testkit.Reached(scheme, address))
		_, err := b.Open(t.Context(), "a/b")
		if !errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", scheme, err)
		}
		server.Close()
	}
}

// Whatever fails on the way, an object is published once and read whole.
func TestUnreliable(t *testing.T) {
	location := "s3://photos/x?endpoint=" + unreliable(t, testkit.S3(t, "photos"))
	ours, others := open(t, location), open(t, location)
	var names []string
	for i := range 2 {
		name, content := fmt.Sprintf("a/%d", i), strings.Repeat(fmt.Sprint(i), 100_000)
		names = append(names, name)
		publish := func(b bucket.Bucket, content string) error {
			return b.Publish(t.Context(), name, func(w io.Writer) error {
				_, err := io.WriteString(w, content)
				return err
			})
		}
		if err := publish(ours, content); err != nil {
			t.Fatal(err)
		}
		if err := publish(others, "another"); !errors.Is(err, fs.ErrExist) {
			t.Fatalf("publishing %s once more: %v", name, err)
		}
		o, err := others.Open(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := bucket.Content(o); err != nil || string(got) != content {
			t.Errorf("%s has %d bytes, %v", name, len(got), err)
		}
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	}
	if got, err := others.List(t.Context(), "a/"); err != nil || fmt.Sprint(got) != fmt.Sprint(names) {
		t.Errorf("%v, %v", got, err)
	}
}

// A server that is busy when a bucket is opened is asked again; that there is none is said at once.
func TestReach(t *testing.T) {
	var refusals atomic.Int64
	refusals.Store(3) // as often as the provider's client tries itself
	target, err := url.Parse(testkit.S3(t, "photos"))
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host
	}}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if refusals.Add(-1) >= 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	open(t, "s3://photos/x?endpoint="+proxy.URL)
}

package serve_test

import (
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/serve"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/internal/testkit"
)

func TestNewRefuses(t *testing.T) {
	path, empty := folder(t, "across", "down"), testkit.WriteFile(t, filepath.Join(t.TempDir(), "empty"), nil)
	one := []string{path}
	for _, x := range []struct {
		o    serve.Options
		kind fault.Kind
		want string
	}{
		{serve.Options{}, fault.Config, "name a run folder"},
		{serve.Options{Models: []string{"nowhere"}}, fault.Data, "no run folder or model file nowhere"},
		{serve.Options{Models: []string{"no/such name"}}, fault.Config, `"such name" cannot be part of a URL`},
		{serve.Options{Models: []string{"a=" + path, "a=" + path}}, fault.Config, "two are called a"},
		{serve.Options{Models: one, Queue: -1}, fault.Config, "max-queue: -1 is not between 1 and 100000"},
		{serve.Options{Models: one, MaxBody: -1}, fault.Config, "max-body: -1"},
		{serve.Options{Models: one, MaxImages: -1}, fault.Config, "max-images: -1"},
		{serve.Options{Models: one, Timeout: -1}, fault.Config, "timeout: -1ns is not above 0s and at most 24h0m0s"},
		{serve.Options{Models: one, Drain: new(-time.Second)}, fault.Config, "drain: -1s is not between 0s and 1h0m0s"},
		{serve.Options{Models: one, Classifier: classify.Options{MaxBatch: -1}}, fault.Config, "batch: -1"},
		{serve.Options{Models: one, Addr: "nowhere"}, fault.Config, "missing port in address; write HOST"},
		{serve.Options{Models: one, Cert: "a.pem"}, fault.Config, "TLS needs both"},
		{serve.Options{Models: one, Cert: "a.pem", Key: "b.pem"}, fault.Config, "TLS certificate a.pem"},
		{serve.Options{Models: one, TokenFile: "nowhere"}, fault.Config, "token-file: stat nowhere"},
		{serve.Options{Models: one, TokenFile: empty}, fault.Config, "empty is empty"},
	} {
		if _, err := serve.New(x.o); err == nil || fault.Of(err) != x.kind || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%+v: %v; want %s", x.o.Models, err, x.want)
		}
	}
}

// What a program and a command line that set nothing get: the limits of a server that strangers may ask.
func TestFields(t *testing.T) {
	var o serve.Options
	setting.Fill(o.Fields())
	var got []string
	for _, f := range o.Fields() {
		got = append(got, f.Key+" "+f.Text())
	}
	want := "model |addr localhost:8080|provider auto|threads 0|ort-lib |batch 16|delay 2ms|max-pixels 50000000|" +
		"max-queue 128|max-body 33554432|max-images 64|timeout 1m0s|drain 1s|token |token-file |tls-cert |tls-key " +
		"|log-requests false"
	if strings.Join(got, "|") != want {
		t.Errorf("settings are\n%q, want\n%q", got, want)
	}
}

func TestToken(t *testing.T) {
	url := listen(t, start(t, serve.Options{Token: "sesame"}))
	for _, x := range []struct {
		path, header string
		want         int
	}{
		{"/v1/models", "", 401}, {"/v1/models", "Bearer simsim", 401},
		{"/v1/models", "sesame", 401}, {"/v1/models", "Bearer sesame", 200},
		{"/metrics", "", 401}, {"/openapi.json", "", 401},
		{"/v2/models/stripes", "", 401}, {"/v1/models/none", "", 401},
		{"/", "", 200}, {"/app.js", "", 200}, {"/style.css", "", 200},
		{"/healthz", "", 200}, {"/readyz", "", 200}, {"/v2/health/ready", "", 200},
	} {
		r, err := http.NewRequest("GET", url+x.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if x.header != "" {
			r.Header.Set("Authorization", x.header)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		read(t, answer)
		if answer.StatusCode != x.want || (x.want == 401) != (answer.Header.Get("WWW-Authenticate") == "Bearer") {
			t.Errorf("%s with %q: %d %v, want %d", x.path, x.header, answer.StatusCode, answer.Header, x.want)
		}
	}
}

// A taken address is told before any model is loaded, and so is a wrong setting; a free one serves.
func TestListen(t *testing.T) {
	o := serve.Options{Models: []string{folder(t, "across", "down")}, Addr: "127.0.0.1:0", Drain: new(time.Duration)}
	l, err := o.Listen()
	if err != nil {
		t.Fatal(err)
	}
	taken := serve.Options{Addr: l.Addr().String()}
	_, err = taken.Listen()
	if err == nil || fault.Of(err) != fault.Other || !strings.HasPrefix(err.Error(), "addr: ") {
		t.Errorf("a taken address: %v", err)
	}
	o.Queue = -1
	if _, err := o.Listen(); err == nil || fault.Of(err) != fault.Config {
		t.Errorf("a wrong setting: %v", err)
	}
	token := testkit.WriteFile(t, filepath.Join(t.TempDir(), "token"), []byte("sesame\n"))
	s := start(t, serve.Options{TokenFile: token})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	r, err := http.NewRequest("GET", "http://"+l.Addr().String()+"/v1/models", nil)
	if err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]int{"sesame": 200, "simsim": 401} {
		r.Header.Set("Authorization", "Bearer "+token)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if read(t, answer); answer.StatusCode != want {
			t.Errorf("with %q: %d, want %d", token, answer.StatusCode, want)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := s.Serve(t.Context(), l); err == nil {
		t.Error("it serves a closed listener")
	}
}

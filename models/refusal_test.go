package models

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRefusals has the hub answer with every status it uses.
func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		fault fault
		token string
		want  error
		text  string
	}{
		"no such repository": {answer(401, "X-Error-Code", "RepoNotFound"), "", ErrUnknown, "check the spelling"},
		"... with a token": {answer(404, "X-Error-Code", "RepoNotFound"), "hf_x", ErrUnknown,
			"check the spelling"},
		"bare 404":         {answer(404), "", ErrUnknown, "owner/vit"},
		"bare 401":         {answer(401), "", ErrUnknown, "HF_TOKEN"},
		"no such revision": {answer(404, "X-Error-Code", "RevisionNotFound"), "", ErrUnknown, "no revision main"},
		"gated":            {answer(401, "X-Error-Code", "GatedRepo"), "", ErrAccess, "accept its terms"},
		"gated for this token": {answer(403, "X-Error-Code", "GatedRepo", "X-Error-Message", "Ask the author"), "hf_x",
			ErrAccess, "Ask the author"},
		"token not valid": {answer(401, "X-Error-Message", "Invalid credentials in Authorization header"), "hf_x",
			ErrAccess, "not valid any more"},
		"bare 403":              {answer(403), "", ErrAccess, "HF_TOKEN"},
		"gone":                  {answer(410), "", ErrNetwork, "410 Gone"},
		"wants a long wait":     {answer(429, "Retry-After", "7200"), "", ErrNetwork, "2h0m0s"},
		"wants a long wait, RL": {answer(429, "RateLimit", `"api";r=0;t=7200`), "", ErrNetwork, "2h0m0s"},
		"captive portal": {func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			_, _ = io.WriteString(w, "<html>log in</html>")
		}, "", ErrNetwork, "wants a login"},
		"redirects in circles": {func(w http.ResponseWriter, r *http.Request, _ []byte) {
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
		}, "", ErrNetwork, "circles"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeHub(t, vitFiles())
			for range 100 {
				f.hubFaults = append(f.hubFaults, c.fault)
			}
			h := f.client(t)
			h.Token = c.token
			_, err := h.Pull(context.Background(), "owner/vit")
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v; want %v with %q", err, c.want, c.text)
			}
			if strings.HasPrefix(name, "wants a long") && len(f.requests) != 1 {
				t.Errorf("asked %d times", len(f.requests))
			}
		})
	}
}

// TestBusyHub has each kind of request fail for a while.
func TestBusyHub(t *testing.T) {
	f := newFakeHub(t, map[string][]byte{"model.onnx": content(1, 1000)})
	f.hubFaults = []fault{answer(503), answer(429, "Retry-After", "0"), answer(504), nil, answer(500), answer(408), nil,
		answer(429)}
	for i, x := range f.hubFaults {
		if x == nil {
			f.hubFaults[i] = func(w http.ResponseWriter, r *http.Request, _ []byte) {
				f.mu.Unlock()
				defer f.mu.Lock()
				f.serveAgain(w, r)
			}
		}
	}
	mustPull(t, f, f.client(t), "owner/vit")

	f.reset()
	for range 100 {
		f.hubFaults = append(f.hubFaults, answer(500))
	}
	_, err := f.client(t).Pull(context.Background(), "owner/vit")
	if !errors.Is(err, ErrNetwork) || len(f.requests) != 4 || !strings.Contains(err.Error(), "tried 4 times") {
		t.Errorf("%d requests, %v", len(f.requests), err)
	}

	// Retry-After is a lower bound of the wait, which is what the note says.
	f.reset()
	f.hubFaults = []fault{answer(429, "Retry-After", "1")}
	h := f.client(t)
	var notes []string
	h.Note = func(text string) { notes = append(notes, text) }
	start := time.Now()
	mustPull(t, f, h, "owner/vit")
	if len(notes) != 1 || !strings.Contains(notes[0], "429") || time.Since(start) < time.Second {
		t.Errorf("notes %q after %v", notes, time.Since(start))
	}

	// A wait ends at once when it is interrupted.
	f.reset()
	f.hubFaults = []fault{answer(429, "Retry-After", "200")}
	ctx, cancel := context.WithCancel(context.Background())
	h.Note = func(string) { cancel() }
	if _, err := h.Pull(ctx, "owner/vit"); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted while waiting: %v", err)
	}
}

// serveAgain is serveHub for a fault that only counts.
func (f *fakeHub) serveAgain(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	saved := f.hubFaults
	f.hubFaults = nil
	f.mu.Unlock()
	f.serveHub(w, r)
	f.mu.Lock()
	f.hubFaults = saved
	f.mu.Unlock()
}

// TestNobodyThere has no server at all.
func TestNobodyThere(t *testing.T) {
	f := newFakeHub(t, vitFiles())
	h := f.client(t)
	h.Attempts = 2
	mustPull(t, f, h, "owner/vit")
	f.hub.Close()
	_, err := h.Pull(context.Background(), "owner/vit")
	if !errors.Is(err, ErrNetwork) || !strings.Contains(err.Error(), "here already") ||
		errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a hub that is off, with the files here: %v", err)
	}
	_, err = f.client(t).Pull(context.Background(), "owner/vit")
	if !errors.Is(err, ErrNetwork) || strings.Contains(err.Error(), "here already") {
		t.Errorf("a hub that is off: %v", err)
	}
}

// TestCertificate has a hub that nobody vouches for: trying again is no use.
func TestCertificate(t *testing.T) {
	hub := httptest.NewUnstartedServer(http.NotFoundHandler())
	hub.Config.ErrorLog = log.New(io.Discard, "", 0)
	hub.StartTLS()
	defer hub.Close()
	h := newFakeHub(t, nil).client(t)
	h.Endpoint, h.Note = hub.URL, func(text string) { t.Error(text) }
	if _, err := h.Pull(context.Background(), "owner/vit"); !errors.Is(err, ErrNetwork) ||
		!strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown certificate: %v", err)
	}
}

// TestToken sees who gets the token. Both servers have one host name, and differ in the port only.
func TestToken(t *testing.T) {
	f := newFakeHub(t, vitFiles())
	f.token = "hf_secret"
	check := func(name string, h *Hub) {
		t.Helper()
		f.reset()
		f.faults = []fault{breakOff(1000)}
		mustPull(t, f, h, "owner/vit")
		for _, r := range f.loads {
			for key, values := range r.Header {
				if strings.Contains(strings.Join(values, " "), "hf_secret") {
					t.Errorf("%s: the storage got the token in %s", name, key)
				}
			}
		}
		if len(f.loads) < 2 {
			t.Errorf("%s: the storage was not asked", name)
		}
	}
	h := f.client(t)
	h.Token = "hf_secret"
	check("field", h)
	t.Setenv("HF_TOKEN", " hf_secret\n")
	check("HF_TOKEN", f.client(t))
	t.Setenv("HF_TOKEN", "")
	home := t.TempDir()
	t.Setenv("HF_HOME", home)
	if err := os.WriteFile(filepath.Join(home, "token"), []byte("hf_secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	check("file", f.client(t))
	t.Setenv("HF_TOKEN_PATH", filepath.Join(home, "none"))
	if _, err := f.client(t).Pull(context.Background(), "owner/vit"); !errors.Is(err, ErrAccess) {
		t.Errorf("without a token: %v", err)
	}
	h = f.client(t)
	h.Token = "hf_secret"
	f.storage.Close()
	if _, err := h.Pull(context.Background(), "owner/vit"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("an error with a secret: %v", err)
	}
}

// TestRenamed follows the hub to the new name of a repository, with the token.
func TestRenamed(t *testing.T) {
	f := newFakeHub(t, vitFiles())
	f.token = "hf_secret"
	h := f.client(t)
	h.Token = "hf_secret"
	h.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		if strings.Contains(r.URL.Path, "old/vit") {
			return &http.Response{StatusCode: 307, Body: http.NoBody, Request: r,
				Header: http.Header{"Location": {strings.Replace(r.URL.RequestURI(), "old/vit", "owner/vit", 1)}}}, nil
		}
		return http.DefaultTransport.RoundTrip(r)
	})
	p := mustPull(t, f, h, "old/vit")
	if !strings.Contains(p.Path, "models--old--vit") || p.Repository != "old/vit" {
		t.Errorf("pulled %+v", p)
	}
}

// TestMirror has a mirror that redirects everything to the hub, whose refusals are final and who gets no token.
func TestMirror(t *testing.T) {
	f := newFakeHub(t, vitFiles())
	asked := 0
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		http.Redirect(w, r, f.hub.URL+r.URL.RequestURI(), http.StatusTemporaryRedirect)
	}))
	defer mirror.Close()
	h := f.client(t)
	h.Endpoint, h.Token = mirror.URL, "hf_secret"
	mustPull(t, f, h, "owner/vit")
	asked = 0
	if _, err := h.Pull(context.Background(), "owner/none"); !errors.Is(err, ErrUnknown) || asked != 1 {
		t.Errorf("asked %d times: %v", asked, err)
	}
	f.token = "hf_secret"
	if _, err := h.Pull(context.Background(), "owner/vit"); !errors.Is(err, ErrAccess) {
		t.Errorf("the token went to another host: %v", err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

package serve_test

import (
	"bytes"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/vitft/vitft/engine/serve"
	"github.com/vitft/vitft/internal/testkit/trained"
)

// Bodies that stall take no place from anybody, whichever protocol they stall in, and end long before the timeout; one
// that is slow and steady is received.
func TestStalledBodies(t *testing.T) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		s := start(t, serve.Options{Queue: 2, Timeout: 6 * time.Second})
		server := httptest.NewUnstartedServer(s.Handler())
		server.EnableHTTP2 = true
		if protocol == "HTTP/1.1" {
			server.Start()
		} else {
			server.StartTLS()
		}
		t.Cleanup(server.Close)
		url, begin, image := server.URL+"/v1/classify", time.Now(), trained.Photo(0, 1)
		ask := func(body io.Reader, kind string) (int, string) {
			r, err := server.Client().Post(url, kind, body)
			if err != nil {
				t.Error(err)
				return 0, ""
			}
			defer r.Body.Close()
			text, err := io.ReadAll(r.Body)
			if err != nil || r.Proto != protocol {
				t.Errorf("%s: %v", r.Proto, err)
			}
			return r.StatusCode, string(text)
		}
		const stalled = 40
		statuses := make(chan int, stalled)
		for range stalled {
			body, w := io.Pipe()
			defer w.Close()
			go w.Write([]byte("abc"))
			go func() {
				status, _ := ask(body, "image/jpeg")
				statuses <- status
			}()
		}
		eventually(t, "all have begun", func() bool { return s.Held() == 3*stalled })
		for range 5 {
			if status, text := ask(bytes.NewReader(image), "image/jpeg"); status != 200 {
				t.Errorf("an honest client got %d %s", status, text)
			}
		}
		kind, form := form(t, "a", string(image))
		form = append(form, "\r\n"+strings.Repeat("what follows a form is ignored ", 6000)...)
		body, w := io.Pipe()
		go func() {
			for len(form) > 0 {
				n := min(24<<10, len(form))
				w.Write(form[:n])
				form = form[n:]
				time.Sleep(250 * time.Millisecond)
			}
			w.Close()
		}()
		if status, text := ask(body, kind); status != 200 || !strings.Contains(text, `"label":"across"`) {
			t.Errorf("a slow and steady client got %d %s", status, text)
		}
		for range stalled {
			if status := <-statuses; status != 408 {
				t.Errorf("who stalled got %d, want 408", status)
			}
		}
		if took := time.Since(begin); took > 5*time.Second { // a sixth of the timeout is one
			t.Errorf("those who stalled were sent away after %v", took)
		}
		eventually(t, "nothing is held", func() bool { return s.Held() == 0 })
	}
}

// All bodies together hold the queue's length times the largest one, to the byte, wherever they stand.
func TestBodiesHold(t *testing.T) {
	image := trained.Photo(0, 1)
	s := start(t, serve.Options{Queue: 2, MaxBody: int64(len(image))})
	url := listen(t, s)
	first, second := stall(t, url, image), stall(t, url, image)
	begun := int64(len(image) / 2)
	eventually(t, "two have begun", func() bool { return s.Held() == 2*begun })
	if r, text := post(t, url+"/v1/classify", "image/jpeg", bytes.NewReader(image)); r.StatusCode != 200 {
		t.Errorf("a third one that there is room for: %d %s", r.StatusCode, text)
	}
	third := stall(t, url, image)
	eventually(t, "three have begun", func() bool { return s.Held() == 3*begun })
	r, text := post(t, url+"/v1/classify", "image/jpeg", bytes.NewReader(image))
	if r.StatusCode != 429 || !strings.Contains(text, "too many large bodies") || r.Header.Get("Retry-After") == "" {
		t.Errorf("a fourth one: %d %s", r.StatusCode, text)
	}
	for _, x := range []*stalled{first, second, third} {
		if x == third {
			eventually(t, "the others have gone", func() bool { return s.Held() == begun })
		}
		if r := x.finish(t, image); r.StatusCode != 200 && r.StatusCode != 429 || x == third && r.StatusCode != 200 {
			t.Errorf("who began got %d %s", r.StatusCode, read(t, r))
		}
	}
	eventually(t, "nothing is held", func() bool { return s.Held() == 0 })
}

package serve_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
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

// What is asked in 32 MB of small elements is counted before there is room made for them.
func TestMemoryOfSmallElements(t *testing.T) {
	h := start(t, serve.Options{}).Handler()
	const image1 = `{"inputs":[{"name":"image","datatype":"BYTES","shape":[1],"data":`
	for _, x := range []struct{ path, begin, element, end, want string }{
		{"/v1/classify", `{"images":["A"`, `,""`, `]}`, "a list of %d elements; at most 65536 are taken"},
		{"/v1/classify", `{"images":[null`, `,null`, `]}`, "a list of %d elements"},
		{"/v2/models/stripes/infer", `{"inputs":[{}`, `,{}`, `]}`, "a list of %d elements"},
		{"/v2/models/stripes/infer", `{"inputs":[],"outputs":[null`, `,null`, `]}`, "a list of %d elements"},
		{"/v2/models/stripes/infer", `{"inputs":[{"shape":[1`, `,1`, `]}]}`, "a list of %d elements"},
		{"/v2/models/stripes/infer", image1 + `[""`, `,""`, `]}]}`, "%d elements, its shape is [1]"},
		{"/v2/models/stripes/infer", image1 + `[[]`, `,[]`, `]}]}`, "%d elements, its shape is [1]"},
		{"/v2/models/stripes/infer",
			`{"inputs":[{"name":"image","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":33554004}}]}`,
			"\x00\x00\x00\x00", "", "input image has 2 elements, its shape is [1]"},
	} {
		n := (32<<20 - len(x.begin) - len(x.end)) / len(x.element)
		if x.end == "" {
			n = 33554004 / len(x.element)
		}
		want := strings.Replace(x.want, "%d", fmt.Sprint(n+1), 1)
		body := strings.NewReader(x.begin + strings.Repeat(x.element, n) + x.end)
		r := httptest.NewRequest("POST", x.path, body)
		r.Header.Set("Content-Type", "application/json")
		if x.end == "" {
			r.Header.Set("Inference-Header-Content-Length", fmt.Sprint(len(x.begin)))
		}
		w := httptest.NewRecorder()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		h.ServeHTTP(w, r)
		runtime.ReadMemStats(&after)
		text := w.Body.String()
		if w.Code != http.StatusBadRequest || !strings.Contains(text, want) || len(text) > 1100 {
			t.Errorf("%s: %d %.2000s, want 400 %s", x.begin, w.Code, text, want)
		}
		// The body, twice and three times while the buffer grows, and a copy of data.
		if mb := (after.TotalAlloc - before.TotalAlloc) >> 20; mb > 180 {
			t.Errorf("%s: %d MB were allocated for 32 MB", x.begin, mb)
		}
	}
}

// What a request can have repeated is short.
func TestAnswersAreShort(t *testing.T) {
	url := listen(t, start(t, serve.Options{}))
	long, image := strings.Repeat("<", 50_000), string(trained.Photo(0, 1))
	kind, body := form(t, long, image)
	_, text := post(t, url+"/v1/classify", kind, bytes.NewReader(body))
	if got := results(t, text); len(got) != 1 || got[0].Name != long[:1000] || got[0].Label != "across" {
		t.Errorf("%d images, %.200s", len(got), text)
	}
	infer := url + "/v2/models/stripes/infer"
	for body, want := range map[string]string{
		`{"inputs":[{"name":"` + long + `"}]}`:                  "send image (BYTES)",
		`{"inputs":[{}],"id":"` + long + `"}`:                   "the id has 50000 bytes; at most 1000 are taken",
		`{"inputs":[` + strings.Repeat("7", 50_000) + `]}`:      "cannot read the request",
		`{"inputs":[{"name":"a"},{"name":"a"},{"name":"b"}]}`:   `input \"a\" is given more than once`,
		`{"inputs":[{"name":"image"},{"name":"pixel_values"}]}`: "2 inputs; send one, image (BYTES)",
	} {
		r, text := post(t, infer, "application/json", strings.NewReader(body))
		if r.StatusCode != 400 || !strings.Contains(text, want) || len(text) > 7000 { // < is \u003c
			t.Errorf("%.60s: %d %.2000s, want %s", body, r.StatusCode, text, want)
		}
	}
}

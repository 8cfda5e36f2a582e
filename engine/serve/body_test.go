package serve_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
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
		body, w := io.Pipe()
		go func() {
			w.Write(image)
			for range 8 { // what follows a JPEG is ignored
				w.Write(make([]byte, 24<<10))
				time.Sleep(250 * time.Millisecond)
			}
			w.Close()
		}()
		if status, text := ask(body, "image/jpeg"); status != 200 || !strings.Contains(text, `"label":"across"`) {
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
	url = listen(t, start(t, serve.Options{Queue: 1, MaxBody: int64(len(image))}))
	if r, text := post(t, url+"/v1/classify", "image/jpeg", bytes.NewReader(image)); r.StatusCode != 200 {
		t.Errorf("the largest one alone: %d %s", r.StatusCode, text)
	}
}

// A client that reads nothing until it has sent everything is told what is wrong with the beginning.
func TestRefusedBodyIsHeardOut(t *testing.T) {
	url := listen(t, start(t, serve.Options{MaxImages: 1}))
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	kind, body := form(t, "a", "no image", "b", "one too many", "c", strings.Repeat("x", 16<<20))
	_, err = fmt.Fprintf(conn, "POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\n"+
		"Content-Length: %d\r\n\r\n%s", kind, len(body), body)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if text := read(t, r); r.StatusCode != 413 || !strings.Contains(text, "more than 1 images") {
		t.Errorf("%d %s", r.StatusCode, text)
	}
}

// What is asked in 8 MB of small elements is counted before there is room made for them.
func TestMemoryOfSmallElements(t *testing.T) {
	h := start(t, serve.Options{}).Handler()
	allocated := func(r *http.Request) (w *httptest.ResponseRecorder, bytes uint64) {
		w = httptest.NewRecorder()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		h.ServeHTTP(w, r)
		runtime.ReadMemStats(&after)
		return w, after.TotalAlloc - before.TotalAlloc
	}
	promise := httptest.NewRequest("POST", "/v1/classify", strings.NewReader("abc"))
	promise.ContentLength = 1 << 20
	if _, n := allocated(promise); n > 500_000 {
		t.Errorf("%d bytes were allocated for a megabyte that was promised", n)
	}
	const size, raw = 8 << 20, 8_000_000
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
			`{"inputs":[{"name":"image","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":8000000}}]}`,
			"\x00\x00\x00\x00", "", "input image has 2 elements, its shape is [1]"},
	} {
		n := (size - len(x.begin) - len(x.end)) / len(x.element)
		if x.end == "" {
			n = raw / len(x.element)
		}
		want := strings.Replace(x.want, "%d", fmt.Sprint(n+1), 1)
		body := strings.NewReader(x.begin + strings.Repeat(x.element, n) + x.end)
		r := httptest.NewRequest("POST", x.path, body)
		r.Header.Set("Content-Type", "application/json")
		if x.end == "" {
			r.Header.Set("Inference-Header-Content-Length", fmt.Sprint(len(x.begin)))
		}
		w, bytes := allocated(r)
		text := w.Body.String()
		if w.Code != http.StatusBadRequest || !strings.Contains(text, want) || len(text) > 1100 {
			t.Errorf("%s: %d %.2000s, want 400 %s", x.begin, w.Code, text, want)
		}
		if bytes > 10*size { // the body in a buffer that grows, with race detection more often, and a copy of data
			t.Errorf("%s: %d MB were allocated for 8 MB", x.begin, bytes>>20)
		}
	}
}

// What a request can have repeated is short.
func TestAnswersAreShort(t *testing.T) {
	url := listen(t, start(t, serve.Options{}))
	long, image := strings.Repeat("<", 50_000), string(trained.Photo(0, 1))
	kind, body := form(t, long, image)
	_, answered := post(t, url+"/v1/classify", kind, bytes.NewReader(body))
	if got := results(t, answered); len(got) != 1 || got[0].Name != long[:1000] || got[0].Label != "across" {
		t.Errorf("%d images, %.200s", len(got), answered)
	}
	r, text := post(t, url+"/v1/classify", "application/json", strings.NewReader(`{"`+long+`":1}`))
	if r.StatusCode != 400 || !strings.Contains(text, "unknown key") || len(text) > 7000 { // < is \u003c
		t.Errorf("an unknown key: %d %.2000s", r.StatusCode, text)
	}
	infer := url + "/v2/models/stripes/infer"
	for body, want := range map[string]string{
		`{"inputs":[{"name":"` + long + `"}]}`:                         "send image (BYTES)",
		`{"inputs":[{"name":"` + long + `"},{"name":"` + long + `"}]}`: "is given more than once",
		`{"inputs":[{}],"id":"` + long + `"}`:                          "the id has 50000 bytes; at most 1000 are taken",
		`{"inputs":[` + strings.Repeat("7", 50_000) + `]}`:             "cannot read the request",
		`{"inputs":[{"name":"a"},{"name":"a"},{"name":"b"}]}`:          `input \"a\" is given more than once`,
		`{"inputs":[{"name":"image"},{"name":"pixel_values"}]}`:        "2 inputs; send one, image (BYTES)",
	} {
		r, text := post(t, infer, "application/json", strings.NewReader(body))
		if r.StatusCode != 400 || !strings.Contains(text, want) || len(text) > 7000 { // < is \u003c
			t.Errorf("%.60s: %d %.2000s, want %s", body, r.StatusCode, text, want)
		}
	}
}

// Whoever asks is told what is wrong with JSON in its words, not in Go's.
func TestAnswersKnowNoGo(t *testing.T) {
	url := listen(t, start(t, serve.Options{}))
	infer := "/v2/models/stripes/infer"
	for _, c := range [][3]string{
		{"/v1/classify", `{"images":[7]}`, "images is a number, where an object"},
		{"/v1/classify", `{"a":1}`, `unknown key \"a\"`},
		{infer, `[]`, "it is an array, where an object belongs"},
		{infer, `{"id":5}`, "id is a number, where a text belongs"},
		{infer, `{"inputs":[{"name":"pixel_values","datatype":"FP32","shape":[1.5]}]}`, "is 1.5, where a whole number"},
		{infer, `{"inputs":[{"name":"pixel_values","datatype":"FP32","shape":[0,3,9,9]}]}`, "send [n,3,height,width]"},
		{infer, `{"inputs":[{"name":"image","datatype":"BYTES","shape":[]}]}`, "send [n] of n images"},
	} {
		r, text := post(t, url+c[0], "application/json", strings.NewReader(c[1]))
		if r.StatusCode != 400 || !strings.Contains(text, c[2]) || strings.Contains(text, "Go ") {
			t.Errorf("%s: %d %s, want %s", c[1], r.StatusCode, text, c[2])
		}
	}
}

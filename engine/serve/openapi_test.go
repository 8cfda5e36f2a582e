package serve_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/vitft/vitft/engine/serve"
	"github.com/vitft/vitft/internal/testkit/trained"
)

// document is openapi.json as a server gives it, checked.
func document(t *testing.T, url string) (*openapi3.T, routers.Router) {
	t.Helper()
	_, text := get(t, url+"/openapi.json")
	doc, err := openapi3.NewLoader().LoadFromData([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return doc, router
}

// openapi.json has the routes that the handlers have, no more and no less.
func TestOpenAPIRoutes(t *testing.T) {
	s := start(t, serve.Options{})
	doc, _ := document(t, listen(t, s))
	documented := map[string]bool{}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			documented[method+" "+path] = true
		}
	}
	for _, pattern := range s.Patterns() {
		pattern = strings.TrimSuffix(pattern, "{$}")
		if !documented[pattern] {
			t.Errorf("%s is not in openapi.json", pattern)
		}
		delete(documented, pattern)
	}
	if len(documented) > 0 {
		t.Errorf("openapi.json has routes that nobody answers: %v", slices.Collect(maps.Keys(documented)))
	}
}

// form is a body of files, each with its name.
func form(t *testing.T, files ...string) (kind string, body []byte) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		part, err := w.CreateFormFile("image", files[i])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(part, files[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), b.Bytes()
}

// Every way to ask, right and wrong: the status is the one expected, and request and answer are as openapi.json says,
// except that a wrong request may be wrong.
func TestOpenAPIAnswers(t *testing.T) {
	openapi3filter.RegisterBodyDecoder("text/html", openapi3filter.FileBodyDecoder)
	url := listen(t, start(t, serve.Options{MaxBody: 100_000, MaxImages: 3}))
	_, router := document(t, url)
	image := string(trained.Photo(1, 99))
	b64 := base64.StdEncoding.EncodeToString([]byte(image))
	jpeg := func(body string) []string { return []string{"image/jpeg", body} }
	js := func(body string) []string { return []string{"application/json", body} }
	files := func(files ...string) []string {
		kind, body := form(t, files...)
		return []string{kind, string(body)}
	}
	const dataURL = "data:image/jpeg;base64,"
	const infer, predict = "/v2/models/stripes/infer", "/v1/models/stripes:predict"
	const imageInput = `"name":"image","datatype":"BYTES","shape":[1]`
	const pixelsInput = `"name":"pixel_values","datatype":"FP32","shape":[1,3,28,28]`
	bytesInput := func(data string) []string {
		return js(`{"id":"7","inputs":[{` + imageInput + `,"data":` + data + `}]}`)
	}
	classes := func(parameters string) []string {
		return js(`{"inputs":[{` + imageInput + `,"data":["` + b64 + `"]}],` +
			`"outputs":[{"name":"probabilities","parameters":` + parameters + `}]}`)
	}
	input := func(fields string) []string { return js(`{"inputs":[{` + fields + `}]}`) }
	for _, x := range []struct {
		method, path string
		body         []string // Content-Type and content
		want         int
		has          string // in the answer
		wrong        bool   // the request is not as documented
	}{
		{"GET", "/healthz", nil, 200, `"live":true`, false},
		{"GET", "/readyz", nil, 200, `"ready":true`, false},
		{"GET", "/metrics", nil, 200, `vitft_model_info{model="stripes"`, false},
		{"GET", "/v1/models", nil,
			200, `"name":"stripes","default":true,"classes":2,"dim":448,"width":28,"height":28,"provider":"cpu"`,
			false},
		{"GET", "/v1/models/stripes", nil, 200, `"ready":true,"labels":["across","down"],"card":"---\npipeline_tag`, false},
		{"GET", "/v1/models/stripes/card", nil, 200, "<h1>across-down</h1>", false},
		{"GET", "/v1/models/spots", nil, 404, `no model \"spots\" here; there is stripes`, false},
		{"GET", "/v1/models/spots/card", nil, 404, `no model`, false},
		{"GET", "/v2", nil, 200, `"extensions":["binary_tensor_data","classification","model_`, false},
		{"GET", "/v2/health/live", nil, 200, "", false},
		{"GET", "/v2/health/ready", nil, 200, "", false},
		{"GET", "/v2/models/stripes", nil,
			200, `{"name":"pixel_values","datatype":"FP32","shape":[-1,3,28,28]}`, false},
		{"GET", "/v2/models/stripes/versions/1", nil, 200, `"versions":["1"]`, false},
		{"GET", "/v2/models/stripes/versions/2", nil, 404, "no version 2", true},
		{"GET", "/v2/models/stripes/ready", nil, 200, `"ready":true`, false},
		{"GET", "/v2/models/stripes/versions/1/ready", nil, 200, `"ready":true`, false},
		{"GET", "/v2/models/spots/ready", nil, 404, "no model", false},

		{"GET", "/v2/models/stripes/config", nil,
			200, `{"name":"logits","data_type":"TYPE_FP32","dims":[2]}`, false},
		{"GET", "/v2/models/stripes/versions/1/config", nil, 200, `"max_batch_size":3`, false},
		{"GET", "/v2/models/stripes/versions/2/config", nil, 404, "no version 2", true},
		{"GET", "/v2/models/stats", nil, 200, `{"model_stats":[{"name":"stripes","version":"1","last_`, false},
		{"GET", "/v2/models/stripes/stats", nil, 200, `"inference_stats":{"success":{"count":`, false},
		{"GET", "/v2/models/stripes/versions/1/stats", nil, 200, `"batch_stats":[`, false},
		{"GET", "/v2/models/spots/stats", nil, 404, "no model", false},
		{"POST", "/v2/repository/index", nil,
			200, `[{"name":"stripes","version":"1","state":"READY","reason":""}]`, false},
		{"POST", "/v2/repository/index", js(`{"ready":true}`), 200, `"READY"`, false},
		{"POST", "/v2/repository/index", js(`{"ready":`), 400, "cannot read", true},

		{"POST", "/v1/classify", jpeg(image),
			200, `{"model":"stripes","results":[{"label":"down","confidence":`, false},
		{"POST", "/v1/classify?top=1&model=stripes", jpeg(image), 200, `"top":[{"label":"down"`, false},
		{"POST", "/v1/classify", []string{"application/x-www-form-urlencoded", image},
			200, `"label":"down"`, true}, // curl --data-binary
		{"POST", "/v1/classify", files("a.jpg", image, "b.txt", "no image"),
			200, `{"name":"b.txt","error":"image is unusable`, false},
		{"POST", "/v1/classify", js(`{"images":["` + b64 + `",{"name":"b","data":"` + dataURL + b64 + `"}]}`),
			200, `{"name":"b","label":"down"`, false},
		{"POST", "/v1/classify", jpeg("no image"),
			422, `"error":"no image could be classified: image is unusable`, false},
		{"POST", "/v1/classify", files("a.txt", "no", "b.txt", "no"), 422, `{"name":"b.txt","error"`, false},
		{"POST", "/v1/classify", jpeg(""), 400, "no image", true},
		{"POST", "/v1/classify", files(), 400, "no image", false},
		{"POST", "/v1/classify", []string{"multipart/form-data; boundary=x", "--x\r\n\r\nhalf a file"},
			400, "cannot read", true},
		{"POST", "/v1/classify", js(`{"image":"` + b64 + `"}`), 400, `unknown key`, true},
		{"POST", "/v1/classify", js(`{"images":["not base64!"]}`), 400, "base64", false},
		{"POST", "/v1/classify", js(`{"images":["data:image/jpeg,x"]}`), 400, "data: URL", false},
		{"POST", "/v1/classify", js(`{"images":[7]}`), 400, "cannot read", true},
		{"POST", "/v1/classify", js(`{"images":["` + b64 + `"]} {}`), 400, "follows", false},
		{"POST", "/v1/classify", js(`{"images":[`), 400, "cannot read", true},
		{"POST", "/v1/classify?top=0", jpeg(image), 400, "top=0", true},
		{"POST", "/v1/classify?topk=2", jpeg(image), 400, "did you mean top?", false},
		{"POST", "/v1/classify?top=1&top=2", jpeg(image), 400, "given 2 times", false},
		{"POST", "/v1/explain?klass=down", jpeg(image), 400, "did you mean class?", false},
		{"POST", "/v1/classify?top=many", jpeg(image), 400, "top=many", true},
		{"POST", "/v1/classify?model=spots", jpeg(image), 404, "no model", false},
		{"POST", "/v1/classify", jpeg(strings.Repeat("x", 100_001)), 413, "larger than 100000 bytes", false},
		{"POST", "/v1/classify", js(`{"images":["` + strings.Repeat("A", 100_000) + `"]}`),
			413, "larger than 100000 bytes", false},
		{"POST", "/v1/classify", files("a", image, "b", image, "c", image, "d", image),
			413, "more than 3 images", false},
		{"POST", "/v1/classify", js(`{"images":["","","",""]}`), 413, "more than 3 images", false},

		{"POST", infer, bytesInput(`["` + b64 + `"]`),
			200, `"model_name":"stripes","model_version":"1","id":"7"`, false},
		{"POST", "/v2/models/stripes/versions/1/infer", bytesInput(`[["` + b64 + `"]]`),
			200, `{"name":"label","datatype":"BYTES","shape":[1],"data":["down"]}`, false},
		{"POST", "/v2/models/spots/infer", bytesInput(`["` + b64 + `"]`), 404, "no model", false},
		{"POST", "/v2/models/stripes/versions/3/infer", bytesInput(`["` + b64 + `"]`), 404, "no version 3", true},
		{"POST", infer, bytesInput(`["bm8gaW1hZ2U="]`), 400, "image 0: image is unusable", false},
		{"POST", infer, bytesInput(`["",""]`), 400, "2 elements", false},
		{"POST", infer, bytesInput(`[7]`), 400, "base64", false},
		{"POST", infer, js(`{"inputs":[]}`), 400, "0 inputs", true},
		{"POST", infer, input(`"name":"x","datatype":"FP32","shape":[1]`), 400, `input \"x\"`, false},
		{"POST", infer, input(`"name":"pixel_values","datatype":"FP32","shape":[1,3,28,27],"data":[1]`),
			400, "the model takes [n,3,28,28]", false},
		{"POST", infer, input(pixelsInput + `,"data":[1,2]`), 400, "has 2 values", false},
		{"POST", infer, input(pixelsInput + `,"data":["a"]`), 400, "no 32-bit number", false},
		{"POST", infer, input(`"name":"image","datatype":"BYTES","shape":[-1],"data":[]`), 400, "shape [-1]", false},
		{"POST", infer, input(`"name":"image","datatype":"BYTES","shape":[4],"data":["","","",""]`),
			413, "more than 3", false},
		{"POST", infer, js(`{"inputs":[{` + imageInput + `,"data":["` + b64 + `"]}],"outputs":[{"name":"mood"}]}`),
			400, `no output \"mood\"`, true},
		{"POST", infer, js(`{"inputs":[{` + imageInput + `,"data":["` + b64 + `"]}],` +
			`"outputs":[{"name":"label"},{"name":"logits"},{"name":"label"}]}`),
			400, `output \"label\" is asked for more than once`, true},
		{"POST", infer, input(imageInput + `,"parameters":{"binary_data_size":9}`), 400, "9 bytes", false},
		{"POST", infer, js(`{`), 400, "cannot read", true},
		{"POST", infer, bytesInput(`["` + dataURL + b64 + `"]`), 200, `"data":["down"]`, false},
		{"POST", infer, classes(`{"classification":-1}`), 400, "classification is -1", true},
		{"POST", infer, classes(`{"classification":"2"}`), 400, "cannot read", true},
		{"POST", infer, classes(`{"classification":2}`),
			200, `{"name":"probabilities","datatype":"BYTES","shape":[1,2],"data":["`, false},

		{"POST", predict, js(`{"instances":[{"b64":"` + b64 + `"}]}`),
			200, `{"predictions":[{"label":"down","confidence":`, false},
		{"POST", "/v1/models/stripes/versions/1:predict", js(`{"instances":["` + dataURL + b64 + `"]}`),
			200, `"label":"down"`, false},
		{"POST", "/v1/models/stripes/versions/2:predict", js(`{"instances":["` + b64 + `"]}`),
			404, "no version 2", true},
		{"POST", "/v1/models/spots:predict", js(`{"instances":["` + b64 + `"]}`), 404, "no model", false},
		{"POST", predict, js(`{"instances":[]}`), 400, "no instances", true},
		{"POST", predict, js(`{"inputs":["` + b64 + `"]}`), 400, "unknown key", true},
		{"POST", predict, js(`{"signature_name":"serving_default","instances":[{"image":{"b64":"bm8gaW1hZ2U="}}]}`),
			400, "image 0: image is unusable", false},
		{"POST", predict, js(`{"signature_name":"other","instances":["` + b64 + `"]}`), 400, "no signature", true},
		{"POST", predict, js(`{"instances":[{"a":{"b64":""},"b":{"b64":""}}]}`), 400, "with 2 members", true},
		{"POST", predict, js(`{"instances":[{"a":{"b":{"b64":""}}}]}`), 400, "an instance is", false},
		{"POST", predict, js(`{"instances":[7]}`), 400, "an instance is", true},
		{"POST", predict, js(`{"instances":[[[1,2],[3,4]]]}`),
			400, "instance 0: the pixels are no lists of 3 × 28 × 28", false},
		{"POST", predict, js(`{"instances":["","","",""]}`), 413, "more than 3 images", false},
		{"POST", predict, js(strings.Repeat(" ", 100_001)), 413, "larger", true},
		{"POST", predict, js(`{"instances":["http://x/y.jpg"]}`), 400, "nothing is fetched", false},
		{"POST", "/v1/models/stripes", js(`{}`), 405, "a model is asked by /v1/models/stripes:predict", true},
		{"POST", infer, js(strings.Repeat(" ", 100_001)), 413, "larger", true},

		{"GET", "/v1/classify", nil, 405, `method not allowed`, true},
		{"GET", "/v3", nil, 404, `not found: GET /v3; see /openapi.json`, true},
	} {
		t.Run(strings.ReplaceAll(x.method+x.path, "/", " ")+" "+strconv.Itoa(x.want), func(t *testing.T) {
			var body []byte
			if x.body != nil {
				body = []byte(x.body[1])
			}
			r, err := http.NewRequest(x.method, url+x.path, bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if x.body != nil {
				r.Header.Set("Content-Type", x.body[0])
			}
			answer, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			text := read(t, answer)
			if answer.StatusCode != x.want || !strings.Contains(text, x.has) {
				t.Fatalf("%d %s\nwant %d with %s", answer.StatusCode, text, x.want, x.has)
			}
			if x.has == "larger than 100000 bytes" && !answer.Close {
				t.Error("the connection goes on, with the rest of the body in it")
			}
			if x.want >= 400 {
				var fault struct{ Error string }
				if err := json.Unmarshal([]byte(text), &fault); err != nil || fault.Error == "" {
					t.Errorf("%s has no error: %v", text, err)
				}
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			matched, parameters, err := router.FindRoute(r)
			if err != nil {
				if !x.wrong {
					t.Fatal(err)
				}
				return
			}
			options := &openapi3filter.Options{
				AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true,
			}
			in := &openapi3filter.RequestValidationInput{
				Request: r, PathParams: parameters, Route: matched, Options: options,
			}
			if err := openapi3filter.ValidateRequest(t.Context(), in); err != nil && !x.wrong {
				t.Errorf("the request is not as documented: %v", err)
			} else if err == nil && x.wrong {
				t.Errorf("the request is called wrong, but openapi.json allows it")
			}
			out := &openapi3filter.ResponseValidationInput{
				RequestValidationInput: in, Status: answer.StatusCode, Header: answer.Header, Options: options,
			}
			if err := openapi3filter.ValidateResponse(t.Context(), out.SetBodyBytes([]byte(text))); err != nil {
				t.Errorf("the answer is not as documented: %v", err)
			}
		})
	}
}

// What kin-openapi takes, another validator takes too: generators of code are as strict as any.
func TestOpenAPIForOthers(t *testing.T) {
	python := os.Getenv("VITFT_PYTHON")
	if python == "" {
		t.Skip("VITFT_PYTHON names no Python with openapi-spec-validator (scripts/python.sh makes one)")
	}
	const check = "import json, sys, openapi_spec_validator as v; v.validate(json.load(open(sys.argv[1], 'rb')))"
	if out, err := exec.Command(python, "-c", check, "openapi.json").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

package serve_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"mime/multipart"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/engine/serve"
	"github.com/vitft/vitft/internal/testkit/trained"
)

// asText is an image in all the ways to write it as text.
func asText(image []byte) map[string]string {
	b64 := base64.StdEncoding.EncodeToString(image)
	var lines []string
	for part := range slices.Chunk([]byte(b64), 76) {
		lines = append(lines, string(part))
	}
	return map[string]string{
		"base64":           b64,
		"in lines":         strings.Join(lines, "\r\n") + "\n",
		"URL-safe":         base64.URLEncoding.EncodeToString(image),
		"without padding":  base64.RawURLEncoding.EncodeToString(image),
		"data URL":         "data:image/jpeg;base64," + b64,
		"of no type":       "data:;base64," + b64,
		"with parameters":  "DATA:image/jpeg;name=a.jpg;charset=utf-8;BASE64,\n" + strings.Join(lines, "\n "),
		"percent-encoded":  "data:image/jpeg;base64," + url.QueryEscape(b64),
		"URL-safe in one":  "data:image/jpeg;base64," + base64.RawURLEncoding.EncodeToString(image),
		"after whitespace": "\n data:image/jpeg;base64," + b64,
	}
}

// However an image is written as text, and wherever text is taken, it is the same image.
func TestImagesAsText(t *testing.T) {
	address := listen(t, start(t, serve.Options{}))
	for name, text := range asText(trained.Photo(1, 99)) {
		quoted, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		const input = `{"name":"image","datatype":"BYTES","shape":[1]`
		bodies := map[string]string{
			"/v1/classify":               `{"images":[` + string(quoted) + `]}`,
			"/v1/classify?top=1":         `{"images":[{"name":"a","data":` + string(quoted) + `}]}`,
			"/v2/models/stripes/infer":   `{"inputs":[` + input + `,"data":[` + string(quoted) + `]}]}`,
			"/v1/models/stripes:predict": `{"instances":[{"image_bytes":{"b64":` + string(quoted) + `}}]}`,
		}
		if strings.Contains(strings.ToLower(text), "data:") { // where bytes are taken too
			kind, files := form(t, "a", text)
			if r, got := post(t, address+"/v1/classify", kind, strings.NewReader(string(files))); r.StatusCode != 200 {
				t.Errorf("%s in a file: %s", name, got)
			}
			if r, got := post(t, address+"/v1/classify", "text/plain", strings.NewReader(text)); r.StatusCode != 200 {
				t.Errorf("%s as a body: %s", name, got)
			}
			var field bytes.Buffer
			w := multipart.NewWriter(&field)
			err := errors.Join(w.WriteField("title", "a photo"), w.WriteField("photo", text), w.Close())
			if err != nil {
				t.Fatal(err)
			}
			if r, got := post(t, address+"/v1/classify", w.FormDataContentType(), &field); r.StatusCode != 200 {
				t.Errorf("%s in a field: %s", name, got)
			}
		}
		for path, body := range bodies {
			r, got := post(t, address+path, "application/json", strings.NewReader(body))
			if r.StatusCode != 200 || !strings.Contains(got, `"down"`) {
				t.Errorf("%s to %s: %d %s", name, path, r.StatusCode, got)
			}
		}
	}
}

// The classification extension lists the largest values of an output as Triton does, in JSON and in binary, for one
// output or all that have labels.
func TestClassification(t *testing.T) {
	c, err := classify.Open(folder(t, "across", "down"), classify.Options{Device: onCPU})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	address := listen(t, start(t, serve.Options{}))
	images := [][]byte{trained.Photo(0, 7), trained.Photo(1, 8)}
	var texts, largest []string
	for i, image := range images {
		p, err := c.ClassifyBytes(t.Context(), image)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, base64.StdEncoding.EncodeToString(image))
		for _, score := range p.Top(2) {
			k := slices.Index(c.Labels(), score.Label)
			largest = append(largest, fmt.Sprintf("%f:%d:%s", score.Confidence, k, score.Label))
		}
		if p.Class != i {
			t.Fatalf("photo %d is %s", i, p.Label)
		}
	}
	data, err := json.Marshal(texts)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(rest string) map[string]any {
		body := `{"inputs":[{"name":"image","datatype":"BYTES","shape":[2],"data":` + string(data) + `}]` + rest + `}`
		r, text := post(t, address+"/v2/models/stripes/infer", "application/json", strings.NewReader(body))
		if r.StatusCode != 200 {
			t.Fatalf("%s: %s", rest, text)
		}
		return tensors(t, r, text)
	}
	for rest, want := range map[string]any{
		`,"outputs":[{"name":"probabilities","parameters":{"classification":2}}]`:                                                    largest,
		`,"outputs":[{"name":"probabilities","parameters":{"classification":9}}]`:                                                    largest,
		`,"outputs":[{"name":"probabilities","parameters":{"classification":2,"binary_data":true}}]`:                                 largest,
		`,"outputs":[{"name":"probabilities","parameters":{"classification":1}}]`:                                                    []string{largest[0], largest[2]},
		`,"parameters":{"classification":1}`:                                                                                         []string{largest[0], largest[2]},
		`,"parameters":{"classification":1},"outputs":[{"name":"label"},{"name":"probabilities","parameters":{"classification":2}}]`: largest,
	} {
		if got := ask(rest)["probabilities"]; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", rest, got, want)
		}
	}
	all := ask(`,"parameters":{"classification":1}`)
	if labels := fmt.Sprint(all["label"]); labels != "[across down]" {
		t.Errorf("labels %s", labels)
	}
	if logits, ok := all["logits"].([]string); !ok || !strings.HasSuffix(logits[0], ":0:across") {
		t.Errorf("logits %v", all["logits"])
	}
	if values, ok := all["embedding"].([]float32); !ok || len(values) != 2*448 {
		t.Error("the embedding is no list of values any more")
	}
	listed := ask(`,"outputs":[{"name":"embedding","parameters":{"classification":3}}]`)["embedding"].([]string)
	if len(listed) != 6 || strings.Count(listed[0], ":") != 1 { // it has no labels
		t.Errorf("embedding %v", listed)
	}
	body := `{"inputs":[{"name":"image","datatype":"BYTES","shape":[1],"data":["` + texts[0] + `"]}],` +
		`"outputs":[{"name":"label","parameters":{"classification":1}}]}`
	r, text := post(t, address+"/v2/models/stripes/infer", "application/json", strings.NewReader(body))
	if r.StatusCode != 400 || !strings.Contains(text, "no values to list classes by") {
		t.Errorf("labels by class: %d %s", r.StatusCode, text)
	}
}

// V1 answers to images and pixels what a Classifier says, to the bit, whatever instances are called.
func TestPredictV1(t *testing.T) {
	c, err := classify.Open(folder(t, "across", "down"), classify.Options{Device: onCPU})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	address := listen(t, start(t, serve.Options{}))
	image := trained.Photo(0, 31)
	want, err := c.ClassifyBytes(t.Context(), image)
	if err != nil {
		t.Fatal(err)
	}
	values := make([]float32, c.Preprocess().Size())
	if err := c.Preprocess().Bytes(image, values); err != nil {
		t.Fatal(err)
	}
	var channels [3][28][28]float32
	for i, v := range values {
		channels[i/784][i/28%28][i%28] = v
	}
	pixels, err := json.MarshalIndent(channels, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.StdEncoding.EncodeToString(image)
	for _, x := range []string{
		`{"b64":"` + b64 + `"}`, `{"image":{"b64":"` + b64 + `"}}`, `{"anything":"` + b64 + `"}`, `"` + b64 + `"`,
		string(pixels), `{"pixel_values":` + string(pixels) + `}`,
	} {
		body := `{"instances": [` + x + `,` + x + `]}`
		r, text := post(t, address+"/v1/models/stripes:predict", "application/json", strings.NewReader(body))
		var got struct {
			Predictions []struct {
				Label         string
				Confidence    float32
				Probabilities []float32
			}
		}
		if err := json.Unmarshal([]byte(text), &got); err != nil || r.StatusCode != 200 || len(got.Predictions) != 2 {
			t.Fatalf("%.60s: %d %s", x, r.StatusCode, text)
		}
		for _, p := range got.Predictions {
			if p.Label != want.Label || p.Confidence != want.Confidence ||
				!slices.Equal(p.Probabilities, want.Probabilities) {
				t.Errorf("%.60s: %v, want %v", x, p, want.Probabilities)
			}
		}
	}
	for instances, says := range map[string]string{
		string(pixels) + `,"` + b64 + `"`:                                            "images and pixels",
		strings.Replace(string(pixels), "[", "[[", 1) + "]":                          "3 × 28 × 28",
		`{"image":{"b64":"` + b64 + `"}},{"image":{"b64":"no image!"}}`:              "base64",
		`{"image":{"b64":"` + b64 + `"}},{"image":{"b64":"` + "bm8gaW1hZ2U=" + `"}}`: "image 1: image is unusable",
		`[` + strings.Repeat("[],", 70_000) + `[]]`:                                  "3 × 28 × 28",
		strings.Repeat(`"",`, 70_000) + `""`:                                         "a list of 70001 elements",
		`{` + strings.Repeat(`"a":"",`, 70_000) + `"b":""}`:                          "an instance with 70001 members",
	} {
		body := `{"instances": [` + instances + `]}`
		r, text := post(t, address+"/v1/models/stripes:predict", "application/json", strings.NewReader(body))
		if r.StatusCode != 400 || !strings.Contains(text, says) {
			t.Errorf("%.60s: %d %s, want %s", instances, r.StatusCode, text, says)
		}
	}
}

// Statistics count requests, images and runs of each model, and no others: neither what was refused nor the run that
// loading makes.
func TestStatistics(t *testing.T) {
	run := folder(t, "across", "down")
	address := listen(t, start(t, serve.Options{Models: []string{"a=" + run, "b=" + run}}))
	image := base64.StdEncoding.EncodeToString(trained.Photo(0, 3))
	for path, body := range map[string]string{
		"/v1/classify?model=a":  `{"images":["` + image + `","` + image + `","AAAA"]}`,
		"/v1/models/a:predict":  `{"instances":["` + image + `"]}`,
		"/v2/models/a/infer":    `{"inputs":[{"name":"image","datatype":"BYTES","shape":[1],"data":["AAAA"]}]}`,
		"/v2/models/none/infer": `{}`,
	} {
		post(t, address+path, "application/json", strings.NewReader(body))
	}
	type count struct{ Count, NS int64 }
	var got struct {
		Stats []struct {
			Name    string
			Last    int64 `json:"last_inference"`
			Images  int   `json:"inference_count"`
			Runs    int64 `json:"execution_count"`
			Request struct {
				Success, Fail count
				Infer         count `json:"compute_infer"`
			} `json:"inference_stats"`
			Batches []struct {
				Size  int   `json:"batch_size"`
				Infer count `json:"compute_infer"`
			} `json:"batch_stats"`
		} `json:"model_stats"`
	}
	_, text := get(t, address+"/v2/models/stats")
	if err := json.Unmarshal([]byte(text), &got); err != nil || len(got.Stats) != 2 {
		t.Fatalf("%s: %v", text, err)
	}
	a, b := got.Stats[0], got.Stats[1]
	batched := 0
	for _, x := range a.Batches {
		batched += x.Size * int(x.Infer.Count)
	}
	if a.Images != 3 || a.Request.Success.Count != 2 || a.Request.Fail.Count != 1 || a.Runs != a.Request.Infer.Count ||
		a.Request.Success.NS < a.Request.Infer.NS/2 || batched != 3 || a.Last == 0 {
		t.Errorf("a: %+v", a)
	}
	if b.Images != 0 || b.Runs != 0 || b.Last != 0 || len(b.Batches) != 0 {
		t.Errorf("b, of which nobody asked: %+v", b)
	}
}

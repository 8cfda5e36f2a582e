package serve_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/engine/serve"
	"github.com/vitft/vitft/internal/testkit/trained"
)

// result is one of POST /v1/classify.
type result struct {
	Name, Label, Error string
	Confidence         float32
	Top                []classify.Score
}

func results(t *testing.T, text string) []result {
	t.Helper()
	var c struct{ Results []result }
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return c.Results
}

// tensors are the outputs of an inference answer, JSON or binary.
func tensors(t *testing.T, r *http.Response, text string) map[string]any {
	t.Helper()
	n, err := strconv.Atoi(r.Header.Get("Inference-Header-Content-Length"))
	if err != nil {
		n = len(text)
	}
	var a struct {
		Outputs []struct {
			Name, Datatype string
			Shape          []int
			Data           json.RawMessage
			Parameters     struct {
				Size int `json:"binary_data_size"`
			}
		}
	}
	if err := json.Unmarshal([]byte(text[:n]), &a); err != nil {
		t.Fatalf("%s: %v", text[:n], err)
	}
	raw, values := text[n:], map[string]any{}
	for _, o := range a.Outputs {
		part := raw[:o.Parameters.Size]
		raw = raw[o.Parameters.Size:]
		var floats []float32
		var strings []string
		switch {
		case o.Data != nil && o.Datatype == "FP32":
			err = json.Unmarshal(o.Data, &floats)
		case o.Data != nil:
			err = json.Unmarshal(o.Data, &strings)
		case o.Datatype == "FP32":
			floats = make([]float32, len(part)/4)
			_, err = binary.Decode([]byte(part), binary.LittleEndian, floats)
		default:
			for len(part) > 0 {
				n := 4 + int(binary.LittleEndian.Uint32([]byte(part)))
				strings, part = append(strings, part[4:n]), part[n:]
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		if values[o.Name] = any(floats); o.Datatype == "BYTES" {
			values[o.Name] = strings
		}
	}
	if raw != "" {
		t.Errorf("%d bytes belong to no output", len(raw))
	}
	return values
}

// However an image comes, it gets the answer that a Classifier gives, to the bit.
func TestSameAnswers(t *testing.T) {
	run := folder(t, "across", "down")
	c, err := classify.Open(run, classify.Options{Device: onCPU})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	url := listen(t, start(t, serve.Options{}))
	for i := range 6 {
		image := trained.Photo(i%2, uint64(100+i))
		want, err := c.ClassifyBytes(t.Context(), image)
		if err != nil {
			t.Fatal(err)
		}
		b64 := base64.StdEncoding.EncodeToString(image)
		kind, files := form(t, "a.jpg", string(image))
		for _, x := range []struct{ kind, body string }{
			{"image/jpeg", string(image)},
			{kind, string(files)},
			{"application/json", `{"images":["` + b64 + `"]}`},
		} {
			_, text := post(t, url+"/v1/classify?top=2", x.kind, strings.NewReader(x.body))
			got := results(t, text)
			if len(got) != 1 || got[0].Label != want.Label || got[0].Confidence != want.Confidence ||
				!slices.Equal(got[0].Top, want.Top(2)) {
				t.Errorf("image %d as %s: %s, want %s %v", i, x.kind, text, want.Label, want.Top(2))
			}
		}
		pixels := make([]float32, c.Preprocess().Size())
		if err := c.Preprocess().Bytes(image, pixels); err != nil {
			t.Fatal(err)
		}
		rawPixels, err := binary.Append(nil, binary.LittleEndian, pixels)
		if err != nil {
			t.Fatal(err)
		}
		listed, err := json.Marshal(pixels)
		if err != nil {
			t.Fatal(err)
		}
		rawImage := append(binary.LittleEndian.AppendUint32(nil, uint32(len(image))), image...)
		const image1 = `"name":"image","datatype":"BYTES","shape":[1]`
		const pixels1 = `"name":"pixel_values","datatype":"FP32","shape":[1,3,28,28]`
		for _, x := range []struct {
			json string
			raw  []byte
		}{
			{`{"inputs":[{` + image1 + `,"data":["` + b64 + `"]}]}`, nil},
			{`{"inputs":[{` + pixels1 + `,"data":` + string(listed) + `}],` +
				`"parameters":{"binary_data_output":true}}`, nil},
			{fmt.Sprintf(`{"inputs":[{%s,"parameters":{"binary_data_size":%d}}]}`, image1, len(rawImage)), rawImage},
			{`{"inputs":[{` + pixels1 + fmt.Sprintf(`,"parameters":{"binary_data_size":%d}}],`, len(rawPixels)) +
				`"outputs":[{"name":"label","parameters":{"binary_data":true}},{"name":"embedding"},` +
				`{"name":"logits","parameters":{"binary_data":true}},{"name":"probabilities"}]}`, rawPixels},
		} {
			body := bytes.NewReader(append([]byte(x.json), x.raw...))
			r, err := http.NewRequest("POST", url+"/v2/models/stripes/infer", body)
			if err != nil {
				t.Fatal(err)
			}
			if x.raw != nil {
				r.Header.Set("Inference-Header-Content-Length", strconv.Itoa(len(x.json)))
			}
			answer, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			text := read(t, answer)
			if answer.StatusCode != 200 {
				t.Fatalf("%.200s: %d %s", x.json, answer.StatusCode, text)
			}
			got := tensors(t, answer, text)
			for name, want := range map[string]any{
				"label": []string{want.Label}, "probabilities": want.Probabilities,
				"logits": want.Logits, "embedding": want.Embedding,
			} {
				if fmt.Sprint(got[name]) != fmt.Sprint(want) {
					t.Errorf("%.200s: %s is %.100v, want %.100v", x.json, name, got[name], want)
				}
			}
		}
	}
	// Not finite in, or not finite out: no answer rather than a NaN in JSON.
	nan, err := binary.Append(nil, binary.LittleEndian, slices.Repeat([]float32{float32(math.NaN())}, 3*28*28))
	if err != nil {
		t.Fatal(err)
	}
	head := fmt.Sprintf(`{"inputs":[{"name":"pixel_values","datatype":"FP32","shape":[1,3,28,28],`+
		`"parameters":{"binary_data_size":%d}}]}`, len(nan))
	body := io.MultiReader(strings.NewReader(head), bytes.NewReader(nan))
	r, err := http.NewRequest("POST", url+"/v2/models/stripes/infer", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Inference-Header-Content-Length", strconv.Itoa(len(head)))
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if text := read(t, answer); answer.StatusCode != 422 || !strings.Contains(text, "not finite") {
		t.Errorf("pixels that are no numbers: %d %s", answer.StatusCode, text)
	}
}

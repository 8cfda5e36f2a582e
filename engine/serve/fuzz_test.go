package serve

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/vitft/vitft/engine/serve/inferpb"
)

// deadlines counts how often one is set.
type deadlines struct {
	*httptest.ResponseRecorder
	set int
}

func (d *deadlines) SetReadDeadline(time.Time) error {
	d.set++
	return nil
}

// whole gives all that there is at once, and says so.
type whole struct{}

func (whole) Read(p []byte) (int, error) { return len(p), io.EOF }

// Once a body has ended, net/http waits for the client to hang up: a deadline would look like that and end the request.
func TestNoDeadlineAfterBody(t *testing.T) {
	var d deadlines
	b := &body{s: &Server{options: Options{Queue: 1, MaxBody: 1 << 20, Timeout: time.Minute}}}
	b.conn, b.end, b.ReadCloser = http.NewResponseController(&d), time.Now().Add(time.Minute), io.NopCloser(whole{})
	for range 3 {
		if n, err := b.Read(make([]byte, pace)); d.set != 1 || n != pace || err != io.EOF {
			t.Errorf("%d deadlines, want 1; %d bytes, %v", d.set, n, err)
		}
	}
}

// FuzzInfer reads inference requests: what is accepted has as many elements or values as its shape says.
func FuzzInfer(f *testing.F) {
	add := func(input, rest, raw string) {
		body, length := `{"inputs":[{`+input+`}]`+rest+`}`, -1
		if raw != "" {
			length = len(body)
		}
		f.Add([]byte(body+raw), length)
	}
	const pixels = `"name":"pixel_values","datatype":"FP32","shape":[1,3,1,2],`
	add(`"name":"image","datatype":"BYTES","shape":[2],"data":["AA==",["AA=="]]`, "", "")
	add(`"name":"image","datatype":"BYTES","shape":[1,1],"data":[["AA=="]]`,
		`,"outputs":[{"name":"label","parameters":{"binary_data":true}}]`, "")
	add(pixels+`"data":[[[1,2]],[[3.5,-4e1]],[[5,6]]]`, "", "")
	add(`"name":"image","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":5}`, "", "\x01\x00\x00\x00x")
	add(pixels+`"parameters":{"binary_data_size":24}`, "", "000000000000000000000000")
	f.Fuzz(func(t *testing.T, body []byte, length int) {
		r := httptest.NewRequest("POST", "/v2/models/m/infer", bytes.NewReader(body))
		if length >= 0 {
			r.Header.Set(jsonLength, strconv.Itoa(length))
		}
		ask, err := readInfer(r)
		if err != nil {
			return
		}
		_, err = ask.wanted([]tensorInfo{{Name: labelOutput}})
		if err == nil && len(ask.Outputs) > 0 && ask.Outputs[0].Name != labelOutput {
			t.Errorf("output %q is given", ask.Outputs[0].Name)
		}
		for _, in := range ask.Inputs {
			n, err := in.images()
			if err != nil || n > 64 {
				continue
			}
			if in.Name == pixelsInput {
				if values, err := in.pixels(1, 2); err == nil && len(values) != n*6 {
					t.Errorf("%d values for the shape %v", len(values), in.Shape)
				}
			} else if elements, err := in.encoded(); err == nil && len(elements) != n {
				t.Errorf("%d elements for the shape %v", len(elements), in.Shape)
			}
		}
	})
}

// FuzzUploads reads bodies of POST /v1/classify: what is accepted holds one to MaxImages images.
func FuzzUploads(f *testing.F) {
	f.Add("application/json", []byte(`{"images":["AA==",{"name":"a","data":"data:image/png;base64,AA=="}]}`))
	f.Add("multipart/form-data; boundary=x",
		[]byte("--x\r\nContent-Disposition: form-data; name=a; filename=b\r\n\r\nimage\r\n--x--\r\n"))
	f.Add("image/jpeg", []byte("\xff\xd8"))
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		r := httptest.NewRequest("POST", "/v1/classify", bytes.NewReader(body))
		r.Header.Set("Content-Type", kind)
		s := &Server{options: Options{MaxImages: 3}}
		if uploads, err := s.uploads(r); err == nil && (len(uploads) < 1 || len(uploads) > 3) {
			t.Errorf("%d images", len(uploads))
		}
	})
}

// FuzzDecodeText reads images written as text: what is plain base64 is read as encoding/base64 reads it, and whatever
// is read can be written as a data: URL of it.
func FuzzDecodeText(f *testing.F) {
	for _, text := range []string{
		"AA==", "_-8", "data:image/png;base64,AAEC", "data:,x", " data:;base64,%2B%2F A=\n", "A",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		data, err := decodeText(text)
		want, strict := base64.StdEncoding.DecodeString(text)
		if strict == nil && (err != nil || !bytes.Equal(data, want)) {
			t.Errorf("%q is %q (%v), not %q", text, data, err, want)
		}
		if err != nil {
			return
		}
		again, err := decodeText("data:image/jpeg;base64," + base64.URLEncoding.EncodeToString(data))
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("%q and back: %q, %v", text, again, err)
		}
	})
}

// FuzzPredict reads requests of V1: an instance that is accepted is an image or so many pixels, and nothing else.
func FuzzPredict(f *testing.F) {
	f.Add([]byte(`{"instances":[{"image":{"b64":"AA=="}},"AA==",{"b64":"data:;base64,AA"}]}`))
	f.Add([]byte(`{"signature_name":"serving_default","instances":[{"x":[[[1,2]],[[3,4e1]],[[-5,6]]]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var ask predictRequest
		if err := readJSON(bytes.NewReader(body), &ask); err != nil {
			return
		}
		for _, x := range ask.Instances {
			if x.pixels == nil {
				continue
			}
			if x.image != nil {
				t.Error("an instance is an image and pixels")
			}
			if values, err := parsePixels(x.pixels, 1, 2); err == nil && len(values) != 6 {
				t.Errorf("%d pixels", len(values))
			}
		}
	})
}

// FuzzCall reads messages of ModelInfer: what is counted before they are decoded is no less than what they have then.
func FuzzCall(f *testing.F) {
	ask := &inferpb.ModelInferRequest{Id: "7", RawInputContents: [][]byte{{}, {1}},
		Inputs: []*inferpb.ModelInferRequest_InferInputTensor{{Name: "image", Shape: []int64{1, 2},
			Contents: &inferpb.InferTensorContents{BytesContents: [][]byte{{2}}, Int64Contents: []int64{3}}}}}
	text, err := proto.Marshal(ask)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		var ask inferpb.ModelInferRequest
		if err := proto.Unmarshal(text, &ask); err != nil {
			return
		}
		n := len(ask.Inputs) + len(ask.Outputs) + len(ask.Parameters) + len(ask.RawInputContents)
		for _, in := range ask.Inputs {
			c := in.Contents
			n += len(in.Shape) + len(in.Parameters) + len(c.GetBytesContents()) + len(c.GetInt64Contents()) +
				len(c.GetIntContents()) + len(c.GetUintContents()) + len(c.GetUint64Contents())
		}
		if counted := elementsOf(text, ask.ProtoReflect().Descriptor()); counted < min(n, mostList) {
			t.Errorf("%d elements, %d counted", n, counted)
		}
		readCall(&ask)
	})
}

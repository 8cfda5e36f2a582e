package serve

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/internal/jsontext"
)

// classification answers POST /v1/classify.
type classification struct {
	Model   string `json:"model"`
	Results []any  `json:"results"` // a classified or a refused for each image, in order
	Error   string `json:"error,omitempty"`
}

type classified struct {
	Name       string           `json:"name,omitempty"`
	Label      string           `json:"label"`
	Confidence float32          `json:"confidence"`
	Top        []classify.Score `json:"top"`
}

type refused struct {
	Name  string `json:"name,omitempty"`
	Error string `json:"error"`
}

// asking is the query of a request. One that asks for what is not known would be answered otherwise than is meant.
func asking(r *http.Request, known ...string) (url.Values, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badRequest("the query: %v", err)
	}
	for key, values := range query {
		switch {
		case !slices.Contains(known, key):
			return nil, badRequest("no parameter %.100q; %s", key, setting.Known(key, known))
		case len(values) > 1:
			return nil, badRequest("%s is given %d times; once is enough", key, len(values))
		}
	}
	return query, nil
}

func (s *Server) classify(w http.ResponseWriter, r *http.Request) error {
	m, top := s.models[0], 5
	query, err := asking(r, "model", "top")
	if err != nil {
		return err
	}
	if name := query.Get("model"); name != "" {
		if m, err = s.model(name); err != nil {
			return err
		}
	}
	if text := query.Get("top"); text != "" {
		if top, err = strconv.Atoi(text); err != nil || top < 1 {
			return badRequest("top=%s is no number of classes to list", text)
		}
	}
	if _, err := s.enter(0); err != nil {
		return err
	}
	uploads, err := s.uploads(r)
	if err != nil {
		return err
	}
	leave, err := s.enter(len(uploads))
	if err != nil {
		return err
	}
	defer leave()
	encoded := make([][]byte, len(uploads))
	for i, u := range uploads {
		encoded[i], uploads[i].Name = u.Data, fmt.Sprintf("%.*s", mostText, u.Name)
	}
	g, done := m.use()
	defer done()
	begin := time.Now()
	results, err := g.ClassifyBatch(r.Context(), encoded)
	if err != nil {
		return err
	}
	body, failed := classification{Model: m.name}, 0
	for i, x := range results {
		if x.Err != nil {
			failed++
			body.Results = append(body.Results, refused{uploads[i].Name, x.Err.Error()})
			continue
		}
		body.Results = append(body.Results, classified{uploads[i].Name, x.Label, x.Confidence, x.Top(top)})
	}
	s.classified(m, begin, len(results)-failed, failed)
	status := http.StatusOK
	if failed == len(results) {
		status, body.Error = http.StatusUnprocessableEntity, "no image could be classified: "+results[0].Err.Error()
	}
	return answer(w, status, body)
}

// upload is an image that a request brings.
type upload struct {
	Name string `json:"name"`
	Data []byte `json:"data"`
}

// UnmarshalJSON reads an image from {"name", "data"} or from a string: base64, or a data: URL of it.
func (u *upload) UnmarshalJSON(text []byte) error {
	var fields struct {
		Name string `json:"name"`
		Data string `json:"data"`
	}
	into := any(&fields)
	if text[0] == '"' {
		into = &fields.Data
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	var err error
	u.Name = fields.Name
	u.Data, err = decodeText(fields.Data)
	return err
}

// uploads reads the images of a request's body: the files of a form, the images of a JSON object, or else the body
// itself.
func (s *Server) uploads(r *http.Request) (uploads []upload, err error) {
	kind, parameters, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch kind {
	case "multipart/form-data":
		uploads, err = s.files(multipart.NewReader(r.Body, parameters["boundary"]))
	case "application/json":
		var body struct {
			Images list[upload] `json:"images"`
		}
		if err = readJSON(r.Body, &body); err == nil {
			uploads = body.Images
		}
	default: // whatever it calls itself: curl --data-binary says it is a form
		var data []byte
		if data, err = readAll(r); err == nil {
			data, err = unwrap(data)
			err = malformed(err)
		}
		if len(data) > 0 {
			uploads = []upload{{Data: data}}
		}
	}
	switch {
	case err != nil:
		return nil, err
	case len(uploads) == 0:
		return nil, badRequest(`no image: send it as the body, as files of a form, or as JSON {"images": [base64, …]}`)
	case len(uploads) > s.options.MaxImages:
		return nil, s.tooMany()
	}
	return uploads, nil
}

func (s *Server) tooMany() error {
	text := fmt.Sprintf("more than %d images in a request", s.options.MaxImages)
	return &failure{http.StatusRequestEntityTooLarge, text}
}

func (s *Server) files(form *multipart.Reader) (uploads []upload, err error) {
	for {
		part, err := form.NextPart()
		switch {
		case err == io.EOF:
			return uploads, nil
		case err != nil:
			return nil, malformed(err)
		}
		content := bufio.NewReader(part)
		if part.FileName() == "" && !strings.HasPrefix(part.Header.Get("Content-Type"), "image/") {
			begin, _ := content.Peek(16)
			if _, image := cutScheme(string(begin)); !image { // a field
				continue
			}
		}
		if len(uploads) == s.options.MaxImages {
			return nil, s.tooMany()
		}
		data, err := io.ReadAll(content)
		if err == nil {
			data, err = unwrap(data)
		}
		if err != nil {
			return nil, malformed(err)
		}
		uploads = append(uploads, upload{part.FileName(), data})
	}
}

// readAll reads the body in one piece if it says how long it is.
func readAll(r *http.Request) ([]byte, error) {
	var b bytes.Buffer
	if n := r.ContentLength; n > 0 && n <= 64<<10 { // more is believed when it comes
		b.Grow(int(n) + bytes.MinRead)
	}
	_, err := b.ReadFrom(r.Body)
	return b.Bytes(), malformed(err)
}

func readJSON(body io.Reader, v any) error {
	d := json.NewDecoder(body)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return malformed(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return badRequest("something follows the JSON object")
	}
	return nil
}

// malformed makes a bad request of an error of reading one, unless it is of a kind that has a status of its own.
func malformed(err error) error {
	var large *http.MaxBytesError
	var timeout interface{ Timeout() bool }
	switch {
	case err == nil, errors.As(err, &large), errors.As(err, &timeout) && timeout.Timeout(),
		errors.As(err, new(*failure)):
		return err
	}
	return badRequest("cannot read the request: %v", jsontext.Explain(err))
}

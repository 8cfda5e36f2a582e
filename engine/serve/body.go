package serve

import (
	"encoding/json"
	"io"
	"math"
	"net/http"
	"time"
)

const (
	pace     = 16 << 10 // bytes that a body must bring in a sixth of Options.Timeout, or else it ends
	mostList = 1 << 16  // elements of a list in JSON, other than data
	mostText = 1000     // characters of a text that an answer repeats; bytes of an id
)

// body is a request's body on its way in. It has no place in the queue yet, so that who stalls is in nobody's way; the
// bytes that have come are counted until the request is answered.
type body struct {
	io.ReadCloser
	s         *Server
	conn      *http.ResponseController
	end       time.Time // when all of it must be there
	held, due int64     // bytes that have come, and at which the deadline is moved
	ended     bool
}

func (b *body) Read(p []byte) (int, error) {
	if b.held >= b.due && !b.ended { // after the end it would look as if the client had hung up
		b.due = b.held + pace
		b.conn.SetReadDeadline(time.Now().Add(min(b.s.options.Timeout/6, time.Until(b.end))))
	}
	n, err := b.ReadCloser.Read(p)
	b.held, b.ended = b.held+int64(n), b.ended || err != nil
	if o := b.s.options; (b.s.bodies.Add(int64(n))-1)/o.MaxBody >= int64(o.Queue) {
		return 0, &failure{http.StatusTooManyRequests, "too many large bodies are waiting; try again"}
	}
	return n, err
}

// list is a list in JSON that is counted before it is decoded: small elements take many times the room of their text.
type list[T any] []T

func (l *list[T]) UnmarshalJSON(text []byte) error {
	if n := 1 + commas(text, 1); n > mostList {
		return badRequest("a list of %d elements; at most %d are taken", n, mostList)
	}
	return json.Unmarshal(text, (*[]T)(l))
}

// everywhere is as deep as lists go.
const everywhere = math.MaxInt

// commas counts those between elements of lists and members of objects in sound JSON, down to a depth.
func commas(text []byte, deepest int) (n int) {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			for i++; text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case c == '[', c == '{':
			depth++
		case c == ']', c == '}':
			depth--
		case c == ',' && depth <= deepest:
			n++
		}
	}
	return n
}

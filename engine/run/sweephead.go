package run

import (
	"bytes"
	"errors"
	"strings"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/sweep"
)

// A head's file in a sweep under way, whose folder has no sums yet, has its own: the SHA-256 of the text in which that
// is 64 zeros.

var sumField = []byte(`"sha256": "`)

func encodeSweepHead(h sweep.Head) ([]byte, error) {
	h.Sum = strings.Repeat("0", len(artifact.SumOf(nil)))
	text, err := toJSON(h)
	if err == nil {
		copy(text[bytes.LastIndex(text, sumField)+len(sumField):], artifact.SumOf(text))
	}
	return text, err
}

func decodeSweepHead(text []byte) (sweep.Head, error) {
	h, err := fromJSON[sweep.Head](text)
	if err != nil {
		return h, err
	}
	zeros := bytes.Clone(text)
	at := bytes.LastIndex(zeros, sumField) + len(sumField)
	if at < len(sumField) || len(h.Sum) != len(artifact.SumOf(nil)) {
		return h, errors.New("it has no checksum; the same sweep trains it anew")
	}
	copy(zeros[at:], strings.Repeat("0", len(h.Sum)))
	if artifact.SumOf(zeros) != h.Sum {
		return h, errors.New("its checksum does not fit; the same sweep trains it anew")
	}
	return h, nil
}

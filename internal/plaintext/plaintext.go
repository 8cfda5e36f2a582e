// Package plaintext reads text files as editors, spreadsheets and shells of all systems write them.
package plaintext

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// sniffed is how much of a file is looked at for the ends of its lines.
const sniffed = 64 << 10

// Stream is the text of r without a byte order mark, from UTF-16 if its mark says so. It waits for no more than the
// first byte, and the mark that this begins.
func Stream(r io.Reader) *bufio.Reader {
	b := bufio.NewReaderSize(r, sniffed)
	is := func(mark string) bool {
		start, _ := b.Peek(1)
		if !bytes.HasPrefix([]byte(mark), start) {
			return false
		}
		start, _ = b.Peek(len(mark))
		return string(start) == mark
	}
	order := unicode.BigEndian
	switch {
	case is("\xef\xbb\xbf"):
		b.Discard(3)
		return b
	case is("\xff\xfe"):
		order = unicode.LittleEndian
	case !is("\xfe\xff"):
		return b
	}
	b.Discard(2)
	return bufio.NewReaderSize(transform.NewReader(b, unicode.UTF16(order, unicode.IgnoreBOM).NewDecoder()), sniffed)
}

// File is [Stream] of a file that is there as a whole; where its lines end in \r alone, as on old Macs, they end in \n.
func File(r io.Reader) *bufio.Reader {
	b := Stream(r)
	if start, _ := b.Peek(sniffed); bytes.Contains(start, []byte{'\r'}) && !bytes.Contains(start, []byte{'\n'}) {
		return bufio.NewReaderSize(oldMac{b}, sniffed)
	}
	return b
}

// oldMac reads \r as \n.
type oldMac struct{ io.Reader }

func (m oldMac) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	for i, c := range p[:n] {
		if c == '\r' {
			p[i] = '\n'
		}
	}
	return n, err
}

// Valid is a text, such as the path of a file, with \x and two digits in the place of each byte that is no UTF-8.
func Valid(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		c, size := utf8.DecodeRuneInString(text)
		if c == utf8.RuneError && size == 1 {
			fmt.Fprintf(&b, `\x%02x`, text[0])
		} else {
			b.WriteString(text[:size])
		}
		text = text[size:]
	}
	return b.String()
}

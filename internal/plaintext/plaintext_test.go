package plaintext

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"":                               "",
		"a":                              "a",
		"a\nb\r\n":                       "a\nb\r\n",
		"\xef\xbb\xbfa,é":                "a,é",
		"\xff\xfea\x00,\x00\xe9\x00":     "a,é",
		"\xfe\xff\x00a\x00,\x00\xe9":     "a,é",
		"\xff\xfe=\xd8\x00\xde\n\x00":    "😀\n",
		"\xff":                           "\xff",
		"\xef\xbb":                       "\xef\xbb",
		"caf\xe9\n":                      "caf\xe9\n", // a name may be any bytes
		"a\rb\r":                         "a\nb\n",
		"a\rb\n":                         "a\rb\n",
		"\xff\xfea\x00\r\x00b\x00\r\x00": "a\nb\n",
	} {
		if got, err := io.ReadAll(File(strings.NewReader(in))); err != nil || string(got) != want {
			t.Errorf("%q is read as %q, %v; want %q", in, got, err, want)
		}
	}
}

// A line of a stream can be read before the next is there.
func TestStreamDoesNotWait(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	go w.Write([]byte("a\n"))
	if line, err := Stream(r).ReadString('\n'); line != "a\n" || err != nil {
		t.Errorf("%q, %v", line, err)
	}
}

func TestValid(t *testing.T) {
	for in, want := range map[string]string{"": "", "café": "café", "caf\xe9/\xff.jpg": `caf\xe9/\xff.jpg`, "\ufffd": "\ufffd"} {
		if got := Valid(in); got != want {
			t.Errorf("%q becomes %q, not %q", in, got, want)
		}
	}
}

// What has no mark and ends its lines in \n is read as it is; what has one comes out as UTF-8.
func FuzzFile(f *testing.F) {
	f.Add([]byte("a\nb"))
	f.Add([]byte("\xff\xfea\x00\x00\xd8"))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := io.ReadAll(File(bytes.NewReader(in)))
		if err != nil {
			t.Fatal(err)
		}
		marked := bytes.HasPrefix(in, []byte("\xff\xfe")) || bytes.HasPrefix(in, []byte("\xfe\xff"))
		if marked && !utf8.Valid(got) {
			t.Errorf("%q is read as %q", in, got)
		}
		if !marked && bytes.HasPrefix(in, []byte("\n")) && !bytes.Equal(got, in) {
			t.Errorf("%q is read as %q", in, got)
		}
	})
}

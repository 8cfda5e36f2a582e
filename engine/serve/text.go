package serve

import (
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
)

// decodeText reads an image that stands as text: base64 of either alphabet, padded or not, whatever whitespace is in
// it, or a data: URL of that.
func decodeText(text string) ([]byte, error) {
	if rest, is := cutScheme(text); is {
		kind, data, found := strings.Cut(rest, ",")
		begin := len(kind) - len(";base64")
		if !found || begin < 0 || !strings.EqualFold(kind[begin:], ";base64") {
			return nil, errors.New("a data: URL that is not base64")
		}
		if text = data; strings.Contains(text, "%") {
			var err error
			if text, err = url.PathUnescape(text); err != nil {
				return nil, err
			}
		}
	}
	const white = " \t\r\n\f"
	if strings.ContainsAny(text, white) {
		text = strings.Map(func(r rune) rune {
			if strings.ContainsRune(white, r) {
				return -1
			}
			return r
		}, text)
	}
	encoding := base64.RawStdEncoding
	if strings.ContainsAny(text, "-_") {
		encoding = base64.RawURLEncoding
	}
	data, err := encoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil && strings.Contains(text, "://") {
		return nil, errors.New("an address; nothing is fetched: send the image itself as base64, or a data: URL of it")
	}
	return data, err
}

// unwrap is an image that came as bytes: those, unless they are the text of a data: URL, as no image is.
func unwrap(data []byte) ([]byte, error) {
	if _, is := cutScheme(string(data[:min(len(data), 16)])); is {
		return decodeText(string(data))
	}
	return data, nil
}

// cutScheme is what follows data: in a URL, if text is one.
func cutScheme(text string) (rest string, is bool) {
	const scheme = "data:"
	text = strings.TrimLeft(text, " \t\r\n")
	if len(text) < len(scheme) || !strings.EqualFold(text[:len(scheme)], scheme) {
		return "", false
	}
	return text[len(scheme):], true
}

package jsontext_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/vitft/vitft/internal/jsontext"
)

func TestExplain(t *testing.T) {
	for text, want := range map[string]string{
		`{"width":"224"}`:      "width is a string, where a whole number of 64 bits belongs",
		`{"width":2.5}`:        "width is 2.5, where a whole number of 64 bits belongs",
		`{"width":true}`:       "width is true or false, where a whole number of 64 bits belongs",
		`[]`:                   "it is an array, where an object belongs",
		`{"mean":{}}`:          "mean is an object, where a list belongs",
		`{"mean":["a"]}`:       "mean is a string, where a number belongs",
		`{"name":3}`:           "name is a number, where a text belongs",
		`{"inner":{"on":"x"}}`: "inner.on is a string, where true or false belongs",
		`{"widht":3}`:          `unknown key "widht"`,
		`{`:                    "unexpected EOF",
		`{// 3`:                `invalid character '/' looking for beginning of object key string: JSON has no comments`,
		`{'width':3}`: `invalid character '\'' looking for beginning of object key string: ` +
			"texts are in double quotes in JSON",
		`{"inner":{"on":True}}`: "invalid character 'T' looking for beginning of value: it is true in JSON",
	} {
		var v struct {
			Width int       `json:"width"`
			Mean  []float32 `json:"mean"`
			Name  string    `json:"name"`
			Inner struct {
				On bool `json:"on"`
			} `json:"inner"`
		}
		d := json.NewDecoder(strings.NewReader(text))
		d.DisallowUnknownFields()
		if err := jsontext.Explain(d.Decode(&v)); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	if err := jsontext.Explain(nil); err != nil {
		t.Error(err)
	}
}

func TestPlain(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "",
		"{}":                       "{}",
		"\ufeff{}":                 "{}",
		"\xff\xfe{\x00}\x00":       "{}",
		"\xfe\xff\x00{\x00}":       "{}",
		"\xff\xfe\xe9\x00":         "é",
		"\xff\xfe":                 "",
		"\xff\xfe{":                "",
		"\xff\xfe{\x00}":           "{",
		"\xfe\xff\xd8\x34\xdd\x1e": "\U0001d11e",
	} {
		if got := string(jsontext.Plain([]byte(text))); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

// Package jsontext says what is wrong with JSON to people who know no Go.
package jsontext

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf16"
)

// Explain turns an error of encoding/json about a type or a key into words of the file; others stay as they are.
func Explain(err error) error {
	if t, is := errors.AsType[*json.UnmarshalTypeError](err); is {
		where := "it"
		if t.Field != "" {
			where = t.Field
		}
		return fmt.Errorf("%s is %s, where %s belongs", where, article(t.Value), wanted(t.Type))
	}
	if err != nil {
		if key, is := strings.CutPrefix(err.Error(), "json: unknown field "); is {
			return fmt.Errorf("unknown key %s", key)
		}
		for mark, cure := range habits {
			if strings.HasPrefix(err.Error(), "invalid character '"+mark+"'") {
				return fmt.Errorf("%w: %s", err, cure)
			}
		}
	}
	return err
}

// habits are what people write who are used to other languages, by the character that is in the way.
var habits = map[string]string{
	"/": "JSON has no comments", "#": "JSON has no comments", `\'`: "texts are in double quotes in JSON",
	"T": "it is true in JSON", "F": "it is false in JSON", "N": "it is null in JSON, and numbers are finite",
}

// article is encoding/json's name of a value, such as "string" or "number 2.5".
func article(value string) string {
	switch {
	case value == "bool":
		return "true or false"
	case strings.HasPrefix(value, "number "):
		return strings.TrimPrefix(value, "number ")
	case value == "array" || value == "object":
		return "an " + value
	}
	return "a " + value
}

func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a text"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	}
	if t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64 {
		return fmt.Sprintf("a whole number of %d bits", t.Bits())
	}
	return "another value"
}

// Plain is text as UTF-8 without a byte order mark, from UTF-16 if its mark says so: what editors and shells of Windows
// write.
func Plain(text []byte) []byte {
	var order binary.ByteOrder = binary.LittleEndian
	switch {
	case bytes.HasPrefix(text, []byte("\xff\xfe")):
	case bytes.HasPrefix(text, []byte("\xfe\xff")):
		order = binary.BigEndian
	default:
		return bytes.TrimPrefix(text, []byte("\ufeff"))
	}
	units := make([]uint16, len(text)/2-1)
	for i := range units {
		units[i] = order.Uint16(text[2*i+2:])
	}
	return []byte(string(utf16.Decode(units)))
}

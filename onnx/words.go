package onnx

import (
	"regexp"
	"strings"
)

var (
	sourceLine = regexp.MustCompile(`\S*onnxruntime\S*\.(cc|cpp|cu|cuh|h|hpp):\d+ `)
	sourceFile = regexp.MustCompile(` *;? *file=\S*onnxruntime\S*`)
	statusCode = regexp.MustCompile(`\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : `)
)

// said is what ONNX Runtime says in an error, on one line and without the places in its source.
func said(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	for {
		at := sourceLine.FindStringIndex(text)
		if at == nil {
			break
		}
		text = text[:at[0]] + strings.TrimSpace(afterSignature(text[at[1]:]))
	}
	return statusCode.ReplaceAllString(sourceFile.ReplaceAllString(text, ""), "")
}

// afterSignature leaves out the C++ function that text begins with, if it does: up to the parenthesis that closes its
// parameters, and what qualifies it.
func afterSignature(text string) string {
	depth := 0
	for i, c := range text {
		switch c {
		case '(':
			depth++
		case ')':
			depth--
			if rest := text[i+1:]; depth == 0 && (rest == "" || rest[0] == ' ') {
				rest = strings.TrimPrefix(rest, " const")
				if strings.HasPrefix(rest, " [with ") {
					_, rest, _ = strings.Cut(rest, "]")
				}
				return rest
			}
		}
		if i > 2000 || depth == 0 && strings.ContainsRune(".!?", c) { // it is none
			break
		}
	}
	return text
}

package dataset

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// parts are the names that folders and files of the parts of a data set have.
var parts = map[string][]string{
	"train": {"train", "training"},
	"val":   {"val", "valid", "validation", "dev"},
	"test":  {"test", "testing"},
}

// partOf is the part of a data set that a folder's name stands for, or empty.
func partOf(name string) string {
	for part, names := range parts {
		if slices.Contains(names, strings.ToLower(name)) {
			return part
		}
	}
	return ""
}

// partOfFile is the part that a word in a file's name stands for, as in train-00000-of-00002.parquet, or empty.
func partOfFile(name string) string {
	for word := range strings.FieldsFuncSeq(name, func(r rune) bool { return !unicode.IsLetter(r) }) {
		if part := partOf(word); part != "" {
			return part
		}
	}
	return ""
}

// choose is which of several names the set that is read takes: those of its part. A test set without one of its own
// takes that for validation.
func (r *reading) choose(names []string) (string, error) {
	wanted := []string{r.part}
	if r.part == "test" {
		wanted = append(wanted, "val")
	}
	for _, part := range wanted {
		var chosen []string
		for _, name := range names {
			if partOf(name) == part {
				chosen = append(chosen, name)
			}
		}
		switch len(chosen) {
		case 0:
			continue
		case 1:
			return chosen[0], nil
		}
		return "", fmt.Errorf("several parts are for %s (%s): name the one to use", part, strings.Join(chosen, ", "))
	}
	return "", fmt.Errorf("no part of it is for %s (it has %s): to use one all the same, name its files", r.part,
		strings.Join(names, ", "))
}

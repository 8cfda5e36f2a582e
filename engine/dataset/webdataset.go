package dataset

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/vitft/vitft/internal/jsontext"
)

// labelNames are what labels are called where they lie beside images, as [plain] has it; the one that goes before the
// others first.
var labelNames = append(slices.Clip(labelColumns), "finelabel", "cls", "coarselabel")

// webdataset collects what labels the images of an archive as WebDataset lays it out: members that share a name up to
// its first dot belong together, an image and its label as KEY.cls, "label" in KEY.json or KEY.txt.
type webdataset [len(ends)]map[string]pairedLabel // by key

type pairedLabel struct {
	text  string
	fault error // if it is none
}

// ends are those of the names of members that hold labels, the one that goes before the others first.
var ends = [...]string{"cls", "json", "txt"}

const largestLabel = 1 << 10 // in bytes; a longer text is no label

// key splits the name of a member into what it shares with others and its end.
func key(name string) (key, end string) {
	dir, base := path.Split(name)
	base, end, _ = strings.Cut(base, ".")
	return dir + base, strings.ToLower(end)
}

// take notes the label in a member, if it holds one.
func (w *webdataset) take(name string, size int64, content io.Reader) error {
	key, end := key(name)
	k := slices.Index(ends[:], end)
	if k < 0 || inSystem(name) {
		return nil
	}
	var label pairedLabel
	most := int64(largestLabel)
	if end == "json" {
		most = mostRecord
	}
	if size > most {
		label.fault = fmt.Errorf("has %d bytes; a label has %d at most", size, most)
	} else if text, err := io.ReadAll(content); err != nil {
		return err
	} else if label.text = string(bytes.TrimSpace(text)); end == "json" {
		label.text, label.fault = labelIn(text)
	}
	if end == "json" && label == (pairedLabel{}) {
		return nil // it says other things
	}
	if other, twice := w[k][key]; twice && other != label {
		label.fault = fmt.Errorf("there twice, with the labels %q and %q", other.text, label.text)
	}
	if w[k] == nil {
		w[k] = map[string]pairedLabel{}
	}
	w[k][key] = label
	return nil
}

// labelIn is the label in a JSON object, empty if it has none.
func labelIn(text []byte) (string, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(text, &object); err != nil {
		return "", fmt.Errorf("not a JSON object: %w", jsontext.Explain(err))
	}
	keys := slices.Sorted(maps.Keys(object))
	for _, name := range labelsOf(keys, labelNames) {
		if at := slices.IndexFunc(keys, func(key string) bool { return plain(key) == name }); at >= 0 {
			label, err := word(keys[at], object[keys[at]])
			return strings.TrimSpace(label), err
		}
	}
	return "", nil
}

// of are the labels beside images: those of the first end that any image has beside it. Where the images lie in class
// folders texts are captions, and what is no label says other things.
func (w *webdataset) of(members []member) map[string]pairedLabel {
	images, _ := imagesAmong(members)
	root := rootOf(images, "")
	folders, captions := map[string]bool{}, true
	for _, m := range images {
		folder, _, inFolder := strings.Cut(m.name[len(root):], "/")
		folders[folder] = true
		captions = captions && inFolder
	}
	captions = captions && len(folders) > 1
	for k, labels := range w {
		if slices.ContainsFunc(images, func(m member) bool {
			key, _ := key(m.name)
			label, paired := labels[key]
			return paired && !(captions && (ends[k] == "txt" || label.fault != nil))
		}) {
			return labels
		}
	}
	return nil
}

// readPairs takes the images of an archive that have a label beside them.
func (a *archives) readPairs(t *tarFile, members []member, labels map[string]pairedLabel) error {
	a.numbered, a.listed = true, true
	images, others := imagesAmong(members)
	taken := make(map[string]string, len(labels)) // image by key
	for _, m := range images {
		key, end := key(m.name)
		other := taken[key]
		switch _, paired := labels[key]; {
		case !paired:
			a.alone = append(a.alone, t.path+"#"+m.name)
		case other == "" || strings.Contains(other[len(key)+1:], ".") && !strings.Contains(end, "."):
			taken[key] = m.name
		case !strings.Contains(end, "."): // else it is as KEY.mask.png beside KEY.jpg
			return fmt.Errorf("%s and %s share the label of %s: keep one image for a key", other, m.name, key)
		}
	}
	for _, m := range images {
		key, _ := key(m.name)
		label, paired := labels[key]
		switch {
		case !paired:
			continue
		case taken[key] != m.name:
			a.further = append(a.further, t.path+"#"+m.name)
			continue
		case label.fault != nil:
			return fmt.Errorf("label of %s: %w", m.name, label.fault)
		}
		if err := a.add(sample{Item: t.item(t, m.name, m.index), label: label.text}); err != nil {
			return err
		}
	}
	for _, name := range others {
		key, end := key(name)
		if _, paired := labels[key]; paired && taken[key] == "" && slices.Contains(ends[:], end) {
			a.alone = append(a.alone, t.path+"#"+name)
		} else if !paired {
			a.ignore(t, name)
		}
	}
	return nil
}

package dataset

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/vitft/vitft/internal/machine"
)

// mostElement is the most bytes of an element of a JSON array; polygons of COCO's annotations are long.
const mostElement = 16 << 20

// cocoFile is what a file in the schema of COCO, which iNaturalist's have too, says of images: lists of images, of
// annotations, which give an image a category, and of categories.
type cocoFile struct {
	list       *list
	images     []cocoImage
	categoryOf map[cocoID]cocoID // by image
	second     map[cocoID]cocoID // another category of an image
	categories []cocoCategory
	named      map[cocoID]string // categories
	entries    int
}

type (
	cocoImage struct {
		ID   cocoID `json:"id"`
		File string `json:"file_name"`
	}
	cocoAnnotation struct {
		Image    cocoID `json:"image_id"`
		Category cocoID `json:"category_id"`
	}
	cocoCategory struct {
		ID   cocoID `json:"id"`
		Name string `json:"name"`
	}
)

// cocoID is a number or, in camera traps, a text.
type cocoID string

// UnmarshalJSON takes both.
func (id *cocoID) UnmarshalJSON(text []byte) error {
	value, err := word("id", text)
	*id = cocoID(value)
	return err
}

// coco reads a file in the schema of COCO: a sample for each image, in their order, with the one category that its
// annotations give it.
func (l *list) coco(add func(sample) error) error {
	c := &cocoFile{list: l, categoryOf: map[cocoID]cocoID{}, second: map[cocoID]cocoID{},
		named: map[cocoID]string{}}
	if err := c.read(); err != nil {
		return err
	}
	if len(c.images) == 0 {
		return errors.New("it lists no images: a list of objects with path and label is needed, or the schema of " +
			"COCO with images, annotations and categories")
	}
	if len(c.categoryOf) == 0 {
		return errors.New("it has no annotations, and so no labels: is it that of a test set?")
	}
	names, named := map[cocoID]string{}, map[string]bool{}
	var merged []string
	for _, k := range c.inOrder() {
		if k.Name == "" {
			k.Name = string(k.ID)
		}
		names[k.ID] = k.Name
		if !named[k.Name] {
			named[k.Name], l.classes = true, append(l.classes, k.Name)
		} else {
			merged = append(merged, k.Name)
		}
	}
	l.find(SimilarClasses, unique(merged), "several categories of %s have one name, and are one class", l.path)
	var without []string
	listed := map[cocoID]bool{}
	for _, image := range c.images {
		listed[image.ID] = true
		id, ok := c.categoryOf[image.ID]
		if !ok {
			without = append(without, image.File)
			continue
		}
		name, ok := names[id]
		switch {
		case !ok:
			return fmt.Errorf("image %q has category %s, which is not among the categories", image.File, id)
		case c.second[image.ID] != "" && names[c.second[image.ID]] != name:
			return fmt.Errorf("image %q has several categories, %q and %q, where one belongs: it lists objects in "+
				"images, not classes of images; cut the objects out, or keep one category for each image", image.File,
				name, names[c.second[image.ID]])
		}
		if err := add(sample{Item: Item{Path: image.File}, label: name}); err != nil {
			return err
		}
	}
	var strange []string
	for id := range c.categoryOf {
		if !listed[id] {
			strange = append(strange, string(id))
		}
	}
	slices.Sort(strange)
	l.find(Unpaired, strange, "%d images that annotations of %s are of are not listed there", len(strange), l.path)
	l.find(Unlabelled, without, "%d of %d images of %s have no annotation and are left out", len(without),
		len(c.images), l.path)
	return nil
}

// inOrder are the categories in the order of their ids, if those are numbers.
func (c *cocoFile) inOrder() []cocoCategory {
	of := map[string]cocoCategory{}
	for _, k := range c.categories {
		of[string(k.ID)] = k
	}
	var sorted []cocoCategory
	for _, id := range sortedLabels(of) {
		sorted = append(sorted, of[id])
	}
	return sorted
}

func (c *cocoFile) read() error {
	d := json.NewDecoder(c.list.text)
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errors.Join(errors.New("it is no JSON object"), err)
	}
	for d.More() {
		c.list.entry.left = mostElement
		key, err := d.Token()
		if err != nil {
			return err
		}
		switch key {
		case "images":
			err = elements(c, d, key, func(i cocoImage) error {
				if i.ID == "" || i.File == "" {
					return errors.New("it needs id and file_name")
				}
				c.images = append(c.images, i)
				return nil
			})
		case "annotations":
			err = elements(c, d, key, func(a cocoAnnotation) error {
				if before, seen := c.categoryOf[a.Image]; !seen {
					c.categoryOf[a.Image] = a.Category
				} else if before != a.Category {
					c.second[a.Image] = a.Category
				}
				return nil
			})
		case "categories":
			err = elements(c, d, key, func(k cocoCategory) error {
				if other, seen := c.named[k.ID]; seen && other != k.Name {
					return fmt.Errorf("category %s is there twice, as %q and as %q; keep one", k.ID, other, k.Name)
				}
				c.named[k.ID] = k.Name
				c.categories = append(c.categories, k)
				return nil
			})
		default:
			err = c.skip(d)
		}
		if err != nil {
			return fmt.Errorf("%v: %w", key, err)
		}
	}
	if _, err := d.Token(); err != nil {
		return errors.New("cut short: its object is not closed")
	}
	return ended(d)
}

// elements reads an array of one of the file's lists.
func elements[T any](c *cocoFile, d *json.Decoder, key json.Token, f func(T) error) error {
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return errors.Join(errors.New("no list"), err)
	}
	number := 0
	return c.list.inArray(d, func() error {
		number++
		if c.entries++; c.entries%1000 == 0 {
			bytes := perSample * float64(c.entries)
			if err := machine.Check(bytes, "a list of more than %d entries", c.entries); err != nil {
				return err
			}
		}
		var element T
		err := d.Decode(&element)
		if err == nil {
			err = f(element)
		}
		if err != nil {
			return fmt.Errorf("entry %d: %w", number, err)
		}
		return nil
	})
}

// skip passes over a value, token by token, so that none takes memory as a whole.
func (c *cocoFile) skip(d *json.Decoder) error {
	for depth := 0; ; {
		c.list.entry.left = mostElement
		t, err := d.Token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

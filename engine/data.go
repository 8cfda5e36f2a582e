package engine

import (
	"errors"
	"io/fs"
	"os"
	"slices"

	"github.com/vitft/vitft/engine/dataset"
)

// data are the labelled images of a run. Val and test may be nil.
type data struct {
	train, val, test *dataset.Dataset
}

// namedSet is a data set by its part in a run: "train", "val" or "test".
type namedSet struct {
	what string
	data *dataset.Dataset
}

// sets lists the data sets that there are.
func (d *data) sets() []namedSet {
	return slices.DeleteFunc([]namedSet{{"train", d.train}, {"val", d.val}, {"test", d.test}},
		func(s namedSet) bool { return s.data == nil })
}

// checkSources refuses sources that do not exist, before anything is written.
func (c *Config) checkSources() error {
	var faults []error
	check := func(key, path string) {
		if _, err := os.Stat(path); path != "" && errors.Is(err, fs.ErrNotExist) {
			faults = append(faults, dataError("%s: no such file or folder: %s", key, path))
		}
	}
	check("train", c.Train)
	check("test", c.Test)
	if _, holdout := c.holdout(); !holdout {
		check("val", c.Val)
	}
	return errors.Join(faults...)
}

// openData reads the lists of images that c names, makes the training set
// long-tailed if asked to, and holds out a validation part.
func openData(c Config, ev Events) (*data, error) {
	imbalance, err := dataset.ParseImbalance(c.Imbalance)
	if err != nil {
		return nil, err
	}
	d := new(data)
	var findings []dataset.Finding
	open := func(source string, classes []string) (*dataset.Dataset, error) {
		set, found, err := dataset.Open(source, dataset.Options{Classes: classes})
		findings = append(findings, found...)
		return set, err
	}
	if d.train, err = open(c.Train, nil); err != nil {
		return nil, err
	}
	var thinned []dataset.Finding
	d.train, thinned = imbalance.Apply(d.train, c.ImbalanceSeed)
	findings = append(findings, thinned...)
	if fraction, holdout := c.holdout(); holdout {
		var small []dataset.Finding
		if d.train, d.val, small, err = d.train.Split(fraction, c.Seed); err != nil {
			return nil, err
		}
		if len(d.val.Items) == 0 {
			return nil, configError("val: holding out %g of each class leaves no image to validate on", fraction)
		}
		findings = append(findings, small...)
	} else if c.Val != "" {
		if d.val, err = open(c.Val, d.train.Classes); err != nil {
			return nil, err
		}
	}
	if c.Test != "" {
		if d.test, err = open(c.Test, d.train.Classes); err != nil {
			return nil, err
		}
	}
	tell(findings, ev)
	smallest, largest := extent(d.train.Counts())
	ev.info("training images", "images", len(d.train.Items), "classes", len(d.train.Classes), "largest class", largest, "smallest class", smallest)
	return d, nil
}

func tell(findings []dataset.Finding, ev Events) {
	for _, f := range findings {
		ev.warn(f.Message, "finding", string(f.Kind))
	}
}

func extent(counts []int) (smallest, largest int) {
	smallest = counts[0]
	for _, n := range counts {
		smallest, largest = min(smallest, n), max(largest, n)
	}
	return smallest, largest
}

package dataset

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"

	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/internal/par"
)

// Sources are the settings that name the images of a run.
type Sources struct {
	Train         string // folder, list, or file of images; see docs/data.md
	Val           string // the same, or a fraction of the training images to hold out; none by default
	Test          string // the same as Train; none by default
	Imbalance     string // see ParseImbalance
	ImbalanceSeed uint64

	From Reader // opens sets in the place of Open, if it is not nil
}

// Sets are the labelled images of a run. Those that it does not have are nil.
type Sets struct{ Train, Val, Test *Dataset }

// Part is a data set by its part in a run: "train", "val" or "test".
type Part struct {
	Name string
	Data *Dataset
}

// Parts lists the sets that there are.
func (s *Sets) Parts() []Part {
	return slices.DeleteFunc([]Part{{"train", s.Train}, {"val", s.Val}, {"test", s.Test}},
		func(p Part) bool { return p.Data == nil })
}

// Images is the number of images of all sets.
func (s *Sets) Images() (n int) {
	for _, p := range s.Parts() {
		n += len(p.Data.Items)
	}
	return n
}

// Fields declares the settings.
func (s *Sources) Fields() []setting.Field {
	orFraction := func(text string) (bool, error) {
		f, is := (&Sources{Val: text}).Holdout()
		if is && !(f > 0 && f < 1) {
			return true, notAFraction(text)
		}
		return is, nil
	}
	return setting.In("data",
		setting.Path("train", &s.Train, "",
			"training images: folder of class folders, list (.csv, .txt, .jsonl, .json), file of images (.parquet, "+
				".tar, .zip, IDX, CIFAR), or a data set with a part for each of train, val and test"),
		setting.PathOr("val", &s.Val, "", orFraction,
			"validation images, or a fraction such as 0.1 to hold out of each class"),
		setting.Path("test", &s.Test, "", "test images"),
		setting.Text("imbalance", &s.Imbalance, "",
			func(text string) error { _, err := ParseImbalance(text); return err },
			"make the training set long-tailed: exp:RATIO or step:RATIO"),
		setting.Number("imbalance-seed", &s.ImbalanceSeed, 0, setting.Seeds, "which images --imbalance keeps"),
	)
}

// WithoutEffect lists the settings that are set to something, but read by nobody, the others being as they are.
func (s *Sources) WithoutEffect() []string {
	if s.Imbalance != "" {
		return nil
	}
	return setting.Unusual(s.Fields(), []string{"imbalance-seed"})
}

// Holdout is Val read as a fraction, and whether it is one.
func (s *Sources) Holdout() (float64, bool) {
	f, err := strconv.ParseFloat(s.Val, 64)
	return f, err == nil
}

// Exist refuses sources that do not exist.
func (s *Sources) Exist() error {
	var faults []error
	check := func(key, path string) {
		path, err := place.Named(path)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", key, err))
			return
		}
		files, err := expand(path)
		if err != nil {
			faults = append(faults, fault.Data.Errorf("%s: %w", key, err))
		} else if files == nil && path != "" {
			files = []string{path}
		}
		for _, path := range files {
			_, err := place.Stat(path)
			if errors.Is(err, fs.ErrNotExist) {
				faults = append(faults, fault.Data.Errorf("%s: no such file or folder: %s", key, path))
				break
			} else if err != nil && place.IsURL(path) { // which a local path's reader says
				faults = append(faults, fmt.Errorf("%s: %w", key, err))
				break
			}
		}
	}
	check("train", s.Train)
	check("test", s.Test)
	if _, holdout := s.Holdout(); !holdout {
		check("val", s.Val)
	}
	return errors.Join(faults...)
}

// Resolve takes the parts of a data set that is named as a whole: Train becomes its training images; Val and Test
// become its other parts where they are not set, or where they name it too. Lists that say which part their rows are of
// stay what they are. A second time nothing changes.
func (s *Sources) Resolve(ctx context.Context, ev event.Events) error {
	if s.From != nil { // which knows the parts of its own
		return nil
	}
	resolved, err := par.Await(ctx, func() (Sources, error) {
		c := *s
		err := c.resolve(ev)
		return c, err
	}, nil)
	if err == nil {
		*s = resolved
	}
	return err
}

func (s *Sources) resolve(ev event.Events) error {
	defer place.Hold()()
	of, err := resolve(&s.Train, train, ev)
	if err != nil {
		return err
	}
	for _, other := range []struct {
		source *string
		part   string
	}{{&s.Val, val}, {&s.Test, test}} {
		own := of[other.part]
		switch _, holdout := s.Holdout(); {
		case other.part == val && holdout && own != "":
			ev.Info("the data set's own validation images are not used: val is a fraction", "part", own)
		case other.part == val && holdout, *other.source == "" && own == "":
		case *other.source == "" && withoutLabels(own, other.part): // which reading its training images says
		case *other.source == "":
			*other.source = place.WithParameters(own)
			ev.Info("taken from the data set", other.part, own)
		default:
			if _, err := resolve(other.source, other.part, ev); err != nil {
				return err
			}
		}
	}
	return nil
}

// resolve follows a source to the part that is wanted, and returns all parts on the way, which are nil without any.
func resolve(source *string, part string, ev event.Events) (parts, error) {
	var all parts
	at, err := place.Named(*source)
	if err != nil {
		return nil, err
	}
	for {
		p, found, err := partsOf(at)
		switch {
		case err != nil:
			return nil, err
		case p == nil:
			return all, nil
		case p[part] == "":
			return nil, in(at, p.lacks(part))
		}
		all = p.with(all)
		if p[part] == at {
			return all, nil
		}
		Warn(found, ev)
		ev.Info("taken from the data set", part, p[part])
		at = p[part]
		*source = place.WithParameters(at)
	}
}

// Open reads the lists of images, makes the training set long-tailed if asked to, and holds out a validation part,
// which the seed chooses, both by content: then the training images are scanned first. Without training images the
// other sets have class lists of their own. Findings are passed on.
func (s *Sources) Open(ctx context.Context, seed uint64, index *Index, ev event.Events) (*Sets, error) {
	defer place.Hold()()
	if err := s.Exist(); err != nil {
		return nil, err
	}
	if err := s.Resolve(ctx, ev); err != nil {
		return nil, err
	}
	imbalance, err := ParseImbalance(s.Imbalance)
	if err != nil {
		return nil, fault.Config.Errorf("imbalance: %w", err)
	}
	share, holdout := s.Holdout()
	if s.Train == "" && (holdout || s.Val+s.Test == "") {
		return nil, fault.Config.Errorf("train, val, test: name at least one set of images")
	}
	var found []Finding
	open := func(source, part string, classes []string) (set *Dataset) {
		if source != "" && err == nil {
			open := Open
			if s.From != nil {
				open = s.From.Set
			}
			set, found, err = open(source, Options{Classes: classes, Part: part})
			Warn(found, ev)
		}
		return set
	}
	sets := &Sets{Train: open(s.Train, train, nil)}
	if err != nil {
		return nil, err
	}
	var classes []string
	var ids []ID // of the training images, where some are chosen
	if sets.Train != nil {
		classes = sets.Train.Classes
	}
	if sets.Train != nil && (holdout || s.Imbalance != "") {
		progress := func(done, total int) { ev.Report(event.Scan, "train", done, total) }
		scan, err := sets.Train.Scan(ctx, ScanOptions{Index: index, Progress: progress})
		if err != nil {
			return nil, err
		}
		sets.Train, ids, found = imbalance.Apply(sets.Train, scan.IDs, s.ImbalanceSeed)
		Warn(found, ev)
	}
	if holdout {
		if sets.Train, sets.Val, found, err = sets.Train.Split(share, ids, seed); err != nil {
			return nil, fault.Config.Errorf("val: %w", err)
		}
		if len(sets.Val.Items) == 0 {
			return nil, fault.Config.Errorf("val: holding out %g of each class leaves no image to validate on", share)
		}
		Warn(found, ev)
	} else {
		sets.Val = open(s.Val, val, classes)
	}
	sets.Test = open(s.Test, test, classes)
	if err != nil {
		return nil, err
	}
	if t := sets.Train; t != nil {
		smallest, largest := t.Extent()
		ev.Info("training images", "images", len(t.Items), "classes", len(t.Classes), "largest class", largest,
			"smallest class", smallest)
	}
	return sets, nil
}

// Warn passes findings on as warnings, and what was merely decided as information.
func Warn(findings []Finding, ev event.Events) {
	for _, f := range findings {
		say := ev.Warn
		if f.Kind.informs() {
			say = ev.Info
		}
		say(f.Message, "finding", string(f.Kind))
	}
}

func notAFraction(text string) error {
	return fault.Config.Errorf("a hold-out of %s is not a fraction between 0 and 1, such as 0.1", text)
}

package embedding

import (
	"context"
	"slices"
	"strings"

	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/internal/par"
)

// Given is Open if the sources of a run are embeddings, and nil if they are images. Settings of what makes features of
// images are then refused, unless they are what they are by default.
func Given(ctx context.Context, s *dataset.Sources, ofImages []setting.Field, ev event.Events) (*Source, error) {
	are, err := Are(s)
	if err != nil || !are {
		return nil, err
	}
	setting.Fill(ofImages)
	setting.Fill(s.Fields()) // a file is read once, by one name
	var set []string
	for _, f := range ofImages {
		if f.IsSet() && f.Text() != f.Default {
			set = append(set, f.Key)
		}
	}
	if set != nil {
		return nil, fault.Config.Errorf("%s: embeddings are learned from as they are, without a backbone and in one "+
			"view; leave the setting out, or train on the images", strings.Join(set, ", "))
	}
	return par.Await(ctx, func() (*Source, error) { return Open(s, ev) }, nil)
}

// Recorded are the fields that a run's file of settings has: on embeddings, which x is then, none of what makes
// features of images.
func (x *Source) Recorded(fields, ofImages []setting.Field) []setting.Field {
	if x == nil {
		return fields
	}
	none := setting.Keys(ofImages)
	return slices.DeleteFunc(fields, func(f setting.Field) bool { return slices.Contains(none, f.Key) })
}

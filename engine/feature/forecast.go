package feature

import (
	"context"
	"fmt"

	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/feature/store"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/internal/disk"
)

// Forecast is what Ensure would do.
type Forecast struct {
	What            string // the set
	Images, Missing int    // of them, those whose features are to be made
	Bytes           int64  // that those take in the store
}

// Forecast says what Ensure would do with the same arguments. It reads the images that the scan index does not know,
// and encodes nothing.
func (x *Extractor) Forecast(ctx context.Context, name string, d *dataset.Dataset, n int) (Forecast, error) {
	j, err := x.begin(ctx, name, d, n)
	if err != nil {
		return Forecast{}, err
	}
	missing, images, err := j.lacking(ctx)
	return Forecast{What: name, Images: len(d.Items), Missing: images, Bytes: x.bytes(missing)}, err
}

// Estimate adds how long Ensure would take with the same arguments to an outlook of these images, by a few of them that
// it encodes.
func (x *Extractor) Estimate(ctx context.Context, name string, d *dataset.Dataset, n int, o *Outlook) error {
	j, err := x.begin(ctx, name, d, n)
	if err != nil {
		return err
	}
	known := o.Unreadable // with those of these images
	err = j.estimate(ctx, o)
	o.Unreadable = known
	return err
}

// bytes are what the features of so many images take, by the views that they lack.
func (x *Extractor) bytes(missing map[viewSet][]int) (n int64) {
	each := x.backbone.Key().Bytes()
	for views, items := range missing {
		n += int64(len(items)) * int64(len(x.in(views))) * (each + int64(len(store.ID{})))
	}
	return n
}

// Room refuses so many bytes of features where the disk that they go to cannot hold them, and so many that are laid out
// there for training. Of an object store there are copies, no more than Copies says.
func (o Options) Room(kept, laid int64) error {
	cure := "name another folder"
	if place.IsURL(o.Cache) {
		cure = "bound what is copied with copies, as in 20GB"
		if most, err := setting.ParseBytes(o.Copies); o.Copies != "" && err == nil {
			kept = min(kept, most)
		}
	}
	if free, known := disk.Free(o.Here()); known && kept+laid > free {
		return fmt.Errorf("cache: the features of this run take %.3g GB more, and there are %.3g GB left at %s; make "+
			"room there, or %s", float64(kept+laid)/1e9, float64(free)/1e9, o.Here(), cure)
	}
	return nil
}

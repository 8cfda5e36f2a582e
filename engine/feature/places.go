package feature

import (
	"context"
	"path/filepath"

	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/engine/setting"
)

// Folders under the cache folder.
const (
	StoreFolder    = "features" // a folder for each key; see package store
	ScanFolder     = "scan"     // the index of package dataset
	CopiesFolder   = "copies"   // images, by their ids
	ExportedFolder = "exported" // by the SHA-256 of a model.onnx, the key of the backbone that it was made of here
	ObjectsFolder  = "objects"  // copies of what is in object stores; see package cloud
	JobsFolder     = "jobs"     // what a queue's workers are told, and tell; see package work
	ModelsFolder   = "models"   // backbones of jobs, where a worker ran
)

// Here is the folder on this machine: the cache folder, or the default one if features are kept in an object store.
func (o Options) Here() string {
	if place.IsURL(o.Cache) {
		return defaultCache()
	}
	return o.Cache
}

// features is where blocks of features lie. The caller closes it.
func (o Options) features(ctx context.Context) (bucket.Closing, error) {
	b, err := bucket.Open(ctx, o.Cache, StoreFolder, filepath.Join(o.Here(), ObjectsFolder))
	if remote, is := b.(interface{ Keep(most int64) }); is && err == nil && o.Copies != "" {
		most, _ := setting.ParseBytes(o.Copies) // which has been checked
		remote.Keep(most)
	}
	return b, err
}

func defaultCache() string { return place.Here() }

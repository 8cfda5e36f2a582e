package bucket

import (
	"context"
	"io"
	"path/filepath"
	"strings"

	"github.com/vitft/vitft/engine/fault"
)

// Opener opens what is below a folder of a place in an object store that a URL names. Copies of objects are kept in the
// folder local on this machine.
type Opener func(ctx context.Context, url, folder, local string) (Closing, error)

// Closing is a bucket with connections to let go of.
type Closing interface {
	Bucket
	io.Closer
}

var stores Opener

// Register makes URLs known to Open, as package cloud does when a program imports it: the providers' SDKs are 46 MB,
// which a program that keeps features on a disk need not link.
func Register(o Opener) { stores = o }

// IsURL says whether a text names a place in an object store, rather than a file.
func IsURL(text string) bool {
	scheme, _, found := strings.Cut(text, "://")
	return found && scheme != "" && scheme != "file"
}

// Open opens a folder of a place: of a folder on this machine or, if place is a URL, of an object store.
func Open(ctx context.Context, place, folder, local string) (Closing, error) {
	switch {
	case !IsURL(place):
		return closed{Dir(filepath.Join(place, folder))}, nil
	case stores == nil:
		return nil, fault.Config.Errorf("this program knows no object stores: it must import " +
			"github.com/vitft/vitft/engine/feature/bucket/cloud")
	}
	return stores(ctx, place, folder, local)
}

// closed is a folder, which has nothing to close.
type closed struct{ Dir }

func (closed) Close() error { return nil }

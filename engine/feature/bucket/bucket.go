// Package bucket is where a store keeps its objects: named bytes that are written once and whole.
//
// # Basics
//
//	b := bucket.Dir("/home/me/.cache/vitft/features")
//	err := b.Publish(ctx, "key/block", func(w io.Writer) error { … })
//	names, err := b.List(ctx, "key/")
//	o, err := b.Open(ctx, "key/block")
//	defer o.Close()
//	content, err := bucket.Content(o)      // or o.ReadAt for a part
//
// [Dir] is a folder on this machine, [Memory] is for tests, package cloud has object stores. buckettest.Run says in
// detail what a [Bucket] promises.
//
// # Caveats
//
// Names are relative paths with slashes, see [CheckName]. No name may be a folder of another.
package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// Bucket holds objects. It is safe for concurrent use, by several processes if it outlives one.
type Bucket interface {
	// List names the objects whose names begin with prefix, sorted.
	List(ctx context.Context, prefix string) ([]string, error)
	// Open opens an object; the error wraps fs.ErrNotExist if there is none.
	Open(ctx context.Context, name string) (Object, error)
	// Publish makes an object of what fill writes. Nobody sees a part of it, and after an error or a kill there is
	// none. Of several that publish under one name one succeeds; the others get an error that wraps fs.ErrExist.
	Publish(ctx context.Context, name string, fill func(io.Writer) error) error
	// SetAside renames an object to name+Aside, in the place of one that was set aside before: the name is free again,
	// and people can look at what was wrong.
	SetAside(ctx context.Context, name string) error
	// Delete removes an object; that there is none is no error.
	Delete(ctx context.Context, name string) error
	// Tidy removes what publishers that were killed have left in a folder, and says what it was.
	Tidy(ctx context.Context, folder string) ([]string, error)
	// Where says to people where an object or folder is.
	Where(name string) string
}

// Object is an open object. It does not change, and stays readable when its name is gone.
type Object interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// Holder is a bucket whose folders can be kept from being pruned.
type Holder interface {
	// Hold says that a folder is in use until what it returns is closed. A folder that is gone, as it is without the
	// file of that name, is an error that wraps fs.ErrNotExist.
	Hold(ctx context.Context, folder, file string) (io.Closer, error)
}

// Used is the object by which a folder of an object store is held, where nothing can be locked: it is put anew every
// hour, and the store's own clock tells when that was last.
const Used = "used"

// Aside is what SetAside appends to a name.
const Aside = ".corrupt"

// ErrName is wrapped by errors about names that no object can have.
var ErrName = errors.New("not a name for an object")

// CheckName refuses what is no relative path of elements that do not begin with a dot.
func CheckName(name string) error {
	if !fs.ValidPath(name) || strings.HasPrefix(name, ".") || strings.Contains(name, "/.") ||
		strings.ContainsAny(name, "\\\x00") {
		return fmt.Errorf("%w: %q", ErrName, name)
	}
	return nil
}

// Remote says whether reading a part of an object takes a request, and hardly less than reading all of it.
func Remote(b Bucket) bool {
	r, says := b.(interface{ Remote() bool })
	return says && r.Remote()
}

// Together is how many objects are handled at a time, as par.For takes it: as many as there are processors or, where
// the wait is for answers, more.
func Together(b Bucket) int {
	if Remote(b) {
		return 32
	}
	return 0
}

// Content is all of an object: mapped where the bucket can do that, else read. It must not be written to, and is gone
// when o is closed.
func Content(o Object) ([]byte, error) {
	if m, can := o.(interface{ Map() ([]byte, error) }); can {
		return m.Map()
	}
	content := make([]byte, o.Size())
	if _, err := o.ReadAt(content, 0); err != nil && err != io.EOF {
		return nil, err
	}
	return content, nil
}

// Package cloud keeps objects in object stores: S3 and what speaks its protocol, Google Cloud Storage and Azure Blob
// Storage, through gocloud.dev/blob.
//
// # Basics
//
//	b, err := cloud.Open(ctx, "s3://photos-eu/vitft", "features", localFolder)
//	defer b.Close()
//	err = b.Publish(ctx, "key/block", func(w io.Writer) error { … }) // a conditional put
//
// A [Bucket] is a bucket.Bucket. What is opened or published is copied to a folder on this machine and mapped from
// there, so that an object is fetched once for a machine. [Open] has the URLs; credentials come from where each
// provider's own tools find them (environment, files, the machine's role), never from the URL.
//
// # Caveats
//
// A request that fails in a way that may pass (no answer, 5xx, too many requests) is repeated, later and later, for up
// to five minutes. What an interrupted upload of parts leaves behind is the provider's to expire.
package cloud

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/cenkalti/backoff/v5"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/internal/disk"
)

// Bucket is an object store, or what is below a prefix of one.
type Bucket struct {
	objects *blob.Bucket
	where   string     // its URL, without what need not be seen
	local   bucket.Dir // copies of objects
	copies  kept
}

// writer is the metadata by which a publisher knows its own object again.
const writer = "vitft-writer"

// Close lets go of connections. What is open stays so.
func (b *Bucket) Close() error { return b.objects.Close() }

// Remote says that what is read of an object costs a request, and all of it hardly more.
func (b *Bucket) Remote() bool { return true }

// List names the objects whose names begin with prefix.
func (b *Bucket) List(ctx context.Context, prefix string) ([]string, error) {
	names, err := retry(ctx, func(ctx context.Context) (names []string, err error) {
		all, failed := b.objects.List(&blob.ListOptions{Prefix: prefix}).All(ctx)
		for o := range all {
			if bucket.CheckName(o.Key) == nil {
				names = append(names, o.Key)
			}
		}
		return names, failed()
	})
	slices.Sort(names)
	return names, b.explain("list", prefix, err)
}

// Open opens the copy of an object that is on this machine, fetching it if there is none.
func (b *Bucket) Open(ctx context.Context, name string) (bucket.Object, error) {
	if err := errors.Join(ctx.Err(), bucket.CheckName(name)); err != nil {
		return nil, err
	}
	o, err := b.local.Open(ctx, name)
	if !errors.Is(err, fs.ErrNotExist) {
		return o, err
	}
	err = b.local.Publish(ctx, name, func(w io.Writer) error { return b.fetch(ctx, name, w) })
	if err != nil && !errors.Is(err, fs.ErrExist) { // which says that another has fetched it
		return nil, err
	}
	o, err = b.local.Open(ctx, name)
	b.made(name)
	return o, err
}

// fetch writes an object to w; where the connection breaks it goes on from there.
func (b *Bucket) fetch(ctx context.Context, name string, w io.Writer) error {
	var done int64
	_, err := retry(ctx, func(ctx context.Context) (_ struct{}, err error) {
		r, err := b.objects.NewRangeReader(ctx, name, done, -1, nil)
		if err != nil {
			return struct{}{}, err
		}
		defer r.Close()
		n, err := io.Copy(struct{ io.Writer }{w}, r) // a bufio.Writer that reads itself takes an error of r for its own
		if done += n; err == nil && done != r.Size() {
			err = io.ErrUnexpectedEOF
		}
		return struct{}{}, err
	})
	return b.explain("fetch", name, err)
}

// Publish puts an object on the condition that there is none of that name. It is held in memory until then.
func (b *Bucket) Publish(ctx context.Context, name string, fill func(io.Writer) error) error {
	if err := errors.Join(ctx.Err(), bucket.CheckName(name)); err != nil {
		return err
	}
	var content bytes.Buffer
	if err := cmp.Or(fill(&content), ctx.Err()); err != nil {
		return err
	}
	err := create(ctx, b.objects, name, content.Bytes())
	if err == nil || errors.Is(err, fs.ErrExist) {
		_ = b.forget(name) // a copy of what is not there any more, when somebody else has emptied the bucket
	}
	if err != nil {
		return b.explain("publish", name, err)
	}
	keep := func(w io.Writer) error { _, err := w.Write(content.Bytes()); return err }
	if b.local.Publish(ctx, name, keep) == nil { // without that copy it is fetched when it is asked for
		b.made(name)
	}
	return nil
}

// create is one conditional put, repeated until an answer comes. That an object is there already is no error if a put
// of this very call has made it, whose answer was lost; that it is not there after all means that another's put goes
// on.
func create(ctx context.Context, objects *blob.Bucket, name string, content []byte) error {
	mark := rand.Text()
	_, err := retry(ctx, func(ctx context.Context) (_ struct{}, err error) {
		// Not by a Writer: that of Azure panics where the condition is not met.
		err = objects.Upload(ctx, name, bytes.NewReader(content), &blob.WriterOptions{IfNotExist: true,
			ContentType: "application/octet-stream", Metadata: map[string]string{writer: mark}})
		if code := codeOf(err); code != gcerrors.FailedPrecondition && code != gcerrors.AlreadyExists {
			return struct{}{}, err
		}
		switch there, err := objects.Attributes(ctx, name); {
		case codeOf(err) == gcerrors.NotFound:
			return struct{}{}, errors.New("another puts it, and does not come to an end")
		case err != nil:
			return struct{}{}, err
		case there.Metadata[writer] != mark:
			return struct{}{}, backoff.Permanent(fs.ErrExist)
		}
		return struct{}{}, nil
	})
	return err
}

// SetAside copies an object to its name beside and removes it. If only the copy on this machine is not what was
// published, that is removed, and an error says so.
func (b *Bucket) SetAside(ctx context.Context, name string) error {
	if err := errors.Join(ctx.Err(), bucket.CheckName(name)); err != nil {
		return err
	}
	if err := b.checkCopy(ctx, name); err != nil {
		return err
	}
	_, err := retry(ctx, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, b.objects.Copy(ctx, name+bucket.Aside, name, nil)
	})
	if err == nil {
		err = b.delete(ctx, name)
	}
	return cmp.Or(b.explain("set aside", name, err), b.forget(name), b.forget(name+bucket.Aside))
}

// Delete removes an object, and its copy on this machine.
func (b *Bucket) Delete(ctx context.Context, name string) error {
	if err := errors.Join(ctx.Err(), bucket.CheckName(name)); err != nil {
		return err
	}
	return cmp.Or(b.explain("delete", name, b.delete(ctx, name)), b.forget(name))
}

// delete removes an object. One that is gone may have been removed by a request whose answer was lost.
func (b *Bucket) delete(ctx context.Context, name string) error {
	_, err := retry(ctx, func(ctx context.Context) (struct{}, error) {
		err := b.objects.Delete(ctx, name)
		if codeOf(err) == gcerrors.NotFound {
			err = nil
		}
		return struct{}{}, err
	})
	return err
}

// checkCopy removes the copy on this machine if it is not what the object store has.
func (b *Bucket) checkCopy(ctx context.Context, name string) error {
	o, err := b.local.Open(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer o.Close()
	mine, theirs := sha256.New(), sha256.New()
	if _, err := io.Copy(mine, io.NewSectionReader(o, 0, o.Size())); err != nil {
		return err
	}
	if err := b.fetch(ctx, name, theirs); err != nil {
		return err
	}
	if !bytes.Equal(mine.Sum(nil), theirs.Sum(nil)) {
		return cmp.Or(b.forget(name), fmt.Errorf("%s was damaged, the copy of %s on this machine; it is removed and "+
			"will be fetched anew", b.local.Where(name), b.Where(name)))
	}
	return nil
}

// forget removes the copy on this machine.
func (b *Bucket) forget(name string) error {
	if err := disk.Delete(b.local.Where(name)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Tidy removes what killed processes have left on this machine.
func (b *Bucket) Tidy(ctx context.Context, folder string) ([]string, error) {
	return b.local.Tidy(ctx, folder)
}

// Where is the URL of an object.
func (b *Bucket) Where(name string) string { return b.where + name }

func (b *Bucket) explain(doing, name string, err error) error {
	return explain(doing, b.Where(name), err)
}

// explain says which object an error is about, in the terms of package fs.
func explain(doing, where string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", doing, where, inTermsOfFiles(err))
}

// inTermsOfFiles says of an error that an object is not there, or must not be read, as package fs does.
func inTermsOfFiles(err error) error {
	if lasting(err) {
		return err
	}
	err = briefly(err)
	switch code := codeOf(err); {
	case code == gcerrors.NotFound:
		return fmt.Errorf("%w (%w)", fs.ErrNotExist, err)
	case code == gcerrors.PermissionDenied:
		return fmt.Errorf("%w (%w)", fs.ErrPermission, err)
	}
	return err
}

// briefly is an error on one line: those of Azure have a picture of the answer.
func briefly(err error) error {
	if azure, is := errors.AsType[*azcore.ResponseError](err); is {
		return briefError{err, fmt.Sprintf("HTTP %d %s", azure.StatusCode, azure.ErrorCode)}
	}
	return err
}

// briefError is an error in fewer words.
type briefError struct {
	error
	words string
}

func (e briefError) Error() string { return e.words }
func (e briefError) Unwrap() error { return e.error }

// lasting says whether an error says itself that it will be the same again.
func lasting(err error) bool {
	kind := fault.Of(err)
	return kind == fault.Data || kind == fault.Config || errors.Is(err, context.Canceled)
}

// copies is the folder of the copies of a bucket's objects.
func copies(folder, where string) bucket.Dir {
	sum := sha256.Sum256([]byte(where))
	return bucket.Dir(filepath.Join(folder, hex.EncodeToString(sum[:8])))
}

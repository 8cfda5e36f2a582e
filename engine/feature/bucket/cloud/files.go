package cloud

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"github.com/cenkalti/backoff/v5"
	"gocloud.dev/blob"

	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/userfile"
)

// files are the objects of a bucket as files of their users, of which no copies are kept.
type files struct {
	objects *blob.Bucket
	where   string
}

// openFiles opens a bucket as a place.Store; it must be there, as far as a look at what begins with a key tells.
func openFiles(bucket string, parameters url.Values, key string) (place.Store, error) {
	scheme, host, _ := strings.Cut(bucket, "://")
	u := url.URL{Scheme: scheme, Host: host, RawQuery: parameters.Encode()}
	objects, where, err := dial(context.Background(), u)
	if err != nil {
		return nil, err
	}
	if err := reach(context.Background(), objects, key, where); err != nil {
		return nil, errors.Join(unanswered(err), objects.Close())
	}
	return &files{objects, where}, nil
}

// List implements place.Store.
func (f *files) List(prefix string, found func(place.Object) bool) error {
	last := "" // what was found before an attempt failed is not found again
	_, err := retry(context.Background(), func(ctx context.Context) (struct{}, error) {
		all, failed := f.objects.List(&blob.ListOptions{Prefix: prefix}).All(ctx)
		for o := range all {
			if last != "" && o.Key <= last {
				continue
			}
			last = o.Key
			if !found(place.Object{Key: o.Key, Size: o.Size, Modified: o.ModTime, Tag: hex.EncodeToString(o.MD5)}) {
				return struct{}{}, nil
			}
		}
		return struct{}{}, failed()
	})
	return f.explain("list", prefix, err)
}

// Head implements place.Store.
func (f *files) Head(key string) (place.Object, error) {
	a, err := retry(context.Background(), func(ctx context.Context) (*blob.Attributes, error) {
		return f.objects.Attributes(ctx, key)
	})
	if err != nil {
		return place.Object{}, f.explain("look at", key, err)
	}
	return place.Object{Key: key, Size: a.Size, Modified: a.ModTime, Tag: hex.EncodeToString(a.MD5)}, nil
}

// Get implements place.Store.
func (f *files) Get(key string, most int64) (content []byte, o place.Object, err error) {
	o, err = f.read(key, 0, -1, func(r io.Reader, size int64) error {
		if size > most {
			return nil
		}
		content = make([]byte, size)
		_, err := io.ReadFull(r, content)
		return err
	})
	if err == nil && o.Size > most {
		err = userfile.Refusal(fmt.Sprintf("%s has %d bytes; the limit here is %d MiB", f.where+key, o.Size, most>>20))
	}
	return content, o, err
}

// ReadAt implements place.Store.
func (f *files) ReadAt(key string, p []byte, at int64) (place.Object, error) {
	return f.read(key, at, int64(len(p)), func(r io.Reader, size int64) error {
		if size < at+int64(len(p)) { // it has changed, as who knows what it was will see
			return nil
		}
		_, err := io.ReadFull(r, p)
		return err
	})
}

// read reads a part of an object, again from its beginning where the connection breaks, and says what the whole is
// like.
func (f *files) read(key string, at, length int64, take func(r io.Reader, size int64) error) (place.Object, error) {
	o, err := retry(context.Background(), func(ctx context.Context) (place.Object, error) {
		r, err := f.objects.NewRangeReader(ctx, key, at, length, nil)
		if err != nil {
			return place.Object{}, err
		}
		defer r.Close()
		err = take(r, r.Size())
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return place.Object{Key: key, Size: r.Size(), Modified: r.ModTime()}, err
	})
	return o, f.explain("read", key, err)
}

// Put implements place.Store.
func (f *files) Put(key, file string) error {
	_, err := retry(context.Background(), func(ctx context.Context) (struct{}, error) {
		from, err := os.Open(file)
		if err != nil { // on this machine
			return struct{}{}, backoff.Permanent(err)
		}
		defer from.Close()
		return struct{}{}, f.objects.Upload(ctx, key, from,
			&blob.WriterOptions{ContentType: "application/octet-stream"})
	})
	return f.explain("write", key, err)
}

// Create implements place.Store.
func (f *files) Create(key string, content []byte) error {
	return f.explain("write", key, create(context.Background(), f.objects, key, content))
}

// Copy implements place.Store.
func (f *files) Copy(key, from string) error {
	_, err := retry(context.Background(), func(ctx context.Context) (struct{}, error) {
		return struct{}{}, f.objects.Copy(ctx, key, from, nil)
	})
	return f.explain("copy", from, err)
}

// Delete implements place.Store.
func (f *files) Delete(key string) error {
	_, err := retry(context.Background(), func(ctx context.Context) (struct{}, error) {
		return struct{}{}, f.objects.Delete(ctx, key)
	})
	return f.explain("remove", key, err)
}

func (f *files) explain(doing, key string, err error) error {
	return unanswered(explain(doing, f.where+key, err))
}

// unanswered marks an error as one of the service, if it is not about an object or bucket.
func unanswered(err error) error {
	if err == nil || lasting(err) {
		return err
	}
	return fmt.Errorf("%w: %w", place.ErrUnanswered, err)
}

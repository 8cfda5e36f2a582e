package place

import (
	"cmp"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vitft/vitft/engine/fault"
)

// Object is about an object of an object store.
type Object struct {
	Key      string
	Size     int64
	Modified time.Time
	Tag      string // a hash of its content; "" where the store does not tell
}

// Store is a bucket of an object store. It is safe for concurrent use. Errors name the object; those about one that is
// not there, or must not be read, wrap fs.ErrNotExist or fs.ErrPermission, others ErrUnanswered: what may pass was
// tried again already.
type Store interface {
	// List calls found with the objects whose keys begin with a prefix, in their order, until it says that that is
	// enough.
	List(prefix string, found func(Object) (more bool)) error
	Head(key string) (Object, error)
	// Get is an object of most bytes at most.
	Get(key string, most int64) ([]byte, Object, error)
	// ReadAt fills p from an offset of an object that has so many bytes behind it.
	ReadAt(key string, p []byte, at int64) (Object, error)
	// Put makes an object of a file on this machine, in the place of one that is there.
	Put(key, file string) error
	// Create makes an object of some bytes if there is none of that key; else the error wraps fs.ErrExist.
	Create(key string, content []byte) error
	Copy(key, from string) error
	Delete(key string) error
}

// Opener opens a bucket by its URL without a key, with its parameters. What is at that key is asked for once, so that a
// wrong name or missing credentials are said at once.
type Opener func(bucket string, parameters url.Values, key string) (Store, error)

var (
	opener  Opener
	schemes []string
)

// Register makes the URLs of some schemes known, as package cloud does when a program imports it.
func Register(o Opener, of ...string) { opener, schemes = o, of }

// Known reports whether a text is a URL of such a scheme.
func Known(text string) bool {
	scheme, _, found := strings.Cut(text, "://")
	return found && slices.Contains(schemes, scheme)
}

// buckets are those that were named, by their URLs.
var buckets = struct {
	sync.Mutex
	named      map[string]bool
	parameters map[string]string
	open       map[string]func() (Store, error)
}{named: map[string]bool{}, parameters: map[string]string{}, open: map[string]func() (Store, error){}}

// Named is the path of what a setting names: without the parameters of a bucket, which are remembered, and of a file://
// URL what it is the URL of. Credentials in it are refused.
func Named(text string) (string, error) {
	if rest, is := strings.CutPrefix(text, "file://"); is {
		u, err := url.Parse(text)
		if err != nil || u.Host != "" && u.Host != "localhost" {
			return "", fault.Config.Errorf("file://%s is no file of this machine: write file:///PATH", rest)
		}
		return u.Path, nil
	}
	if !IsURL(text) {
		return text, nil
	}
	name, parameters, given := strings.Cut(text, "?")
	bucket, key := cut(name)
	values, err := url.ParseQuery(parameters)
	if err != nil || strings.Contains(bucket, "@") || strings.HasSuffix(bucket, "://") || secret(values) {
		scheme, _, _ := strings.Cut(bucket, "://")
		if !isScheme(scheme) { // but perhaps a secret
			scheme = "…"
		}
		return "", fault.Config.Errorf("%q is no place in an object store: write s3://BUCKET/PREFIX, "+
			"gs://BUCKET/PREFIX or azblob://CONTAINER/PREFIX, without credentials", scheme+"://…")
	}
	parameters = values.Encode()
	buckets.Lock()
	defer buckets.Unlock()
	if before, known := buckets.parameters[bucket]; given && known && before != parameters {
		return "", fault.Config.Errorf("%s is named with two sets of parameters, %q and %q; one bucket has one",
			bucket, before, parameters)
	}
	buckets.named[bucket] = true
	if given {
		buckets.parameters[bucket] = parameters
		delete(buckets.open, bucket) // one that was named without
	}
	return strings.TrimSuffix(bucket+"/"+strings.Trim(key, "/"), "/"), nil
}

func isScheme(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789+-.", r)
	})
}

// IsNamed reports whether a setting of this process has named the bucket of a URL.
func IsNamed(name string) bool {
	bucket, _ := cut(name)
	buckets.Lock()
	defer buckets.Unlock()
	return buckets.named[bucket]
}

// Forget closes the book on which buckets were named and opened, as the end of a process does; for tests.
func Forget() {
	buckets.Lock()
	defer buckets.Unlock()
	clear(buckets.named)
	clear(buckets.parameters)
	clear(buckets.open)
}

// secret reports whether an address among parameters has credentials in it.
func secret(parameters url.Values) bool {
	for _, values := range parameters {
		for _, value := range values {
			if _, rest, is := strings.Cut(value, "://"); is && strings.Contains(rest, "@") {
				return true
			}
		}
	}
	return false
}

// WithParameters is a path as a setting names it: with those of its bucket.
func WithParameters(name string) string {
	if !IsURL(name) {
		return name
	}
	bucket, _ := cut(name)
	buckets.Lock()
	defer buckets.Unlock()
	if p := buckets.parameters[bucket]; p != "" {
		return name + "?" + p
	}
	return name
}

// storeOf is the bucket of a URL, which is opened when it is first asked for.
func storeOf(name string) (Store, string, error) {
	bucket, key := cut(name)
	buckets.Lock()
	open := buckets.open[bucket]
	if open == nil {
		parameters, _ := url.ParseQuery(buckets.parameters[bucket])
		open = sync.OnceValues(func() (Store, error) {
			if opener == nil {
				return nil, fault.Config.Errorf("%s: this program knows no object stores: it must import "+
					"github.com/vitft/vitft/engine/feature/bucket/cloud", name)
			}
			return opener(bucket, parameters, key)
		})
		buckets.open[bucket] = open
	}
	buckets.Unlock()
	s, err := open()
	if err != nil { // it may be another time
		buckets.Lock()
		delete(buckets.open, bucket)
		buckets.Unlock()
	}
	return s, key, err
}

// Parallel is how many files of object stores are read at once at most.
const Parallel = 32

var requests = make(chan struct{}, Parallel)

func oneOf(slots chan struct{}) (release func()) {
	slots <- struct{}{}
	return func() { <-slots }
}

// info is what is known about an object.
type info struct {
	Object
	name string
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.Object.Size }
func (i info) ModTime() time.Time { return i.Modified }
func (i info) Mode() fs.FileMode  { return 0o444 }
func (i info) IsDir() bool        { return false }
func (i info) Sys() any           { return nil }

// dirInfo is about a folder.
type dirInfo struct{ name string }

func (d dirInfo) Name() string       { return d.name }
func (d dirInfo) Size() int64        { return 0 }
func (d dirInfo) ModTime() time.Time { return time.Time{} }
func (d dirInfo) Mode() fs.FileMode  { return fs.ModeDir | 0o555 }
func (d dirInfo) IsDir() bool        { return true }
func (d dirInfo) Sys() any           { return nil }

// Expected is what a file in an object store is like, by who has seen it before.
func Expected(url string, size int64, modified time.Time, tag string) fs.FileInfo {
	_, key := cut(url)
	return info{Object{key, size, modified, tag}, path.Base(cmp.Or(key, url))}
}

// Package place reads files wherever they lie: on this machine by their paths, in object stores by URLs such as
// s3://BUCKET/KEY.
//
// # Basics
//
//	source, err := place.Named("s3://photos/train?region=eu-central-1") // s3://photos/train from then on
//	entries, err := place.ReadDir(source)
//	content, err := place.Read(place.Join(source, "cat", "1.jpg"), userfile.Image)
//
// For a path on this machine each function does what its namesake in packages os, filepath and userfile does.
// What is below a key and a slash is a folder. URLs are known once a program imports package cloud, which links the
// SDKs of the providers: [Register].
//
// # Caveats
//
// Parameters behind a question mark (region, endpoint) belong to the whole bucket and are remembered for as long as the
// process lives; paths, also those in lists, go without. Keys are read as they are written, not percent-decoded.
package place

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vitft/vitft/internal/atomicfile"
	"github.com/vitft/vitft/internal/userfile"
)

// ErrUnanswered is wrapped by errors of a service that does not answer, or not with what was asked for: what is there
// is not known, and may be when it is asked again.
var ErrUnanswered = errors.New("the object store cannot be read")

// IsURL says whether a text names a place in an object store, rather than a file.
func IsURL(text string) bool {
	scheme, _, found := strings.Cut(text, "://")
	return found && scheme != "" && scheme != "file" && !strings.ContainsAny(scheme, `/\`)
}

// File is an open file, which may be read in parts.
type File interface {
	io.ReadCloser
	io.ReaderAt
}

// cut divides a URL into that of the bucket and the key.
func cut(url string) (bucket, key string) {
	scheme, rest, _ := strings.Cut(url, "://")
	host, key, _ := strings.Cut(rest, "/")
	return scheme + "://" + host, key
}

// Bucket is the URL of the bucket that something is in.
func Bucket(url string) string {
	bucket, _ := cut(url)
	return bucket
}

// Join is the path of something in a folder.
func Join(folder string, names ...string) string {
	if !IsURL(folder) {
		return filepath.Join(append([]string{folder}, names...)...)
	}
	bucket, key := cut(folder)
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == "" })
	if len(names) == 0 {
		return folder
	}
	for _, name := range names {
		if name == "." || name == ".." || strings.Contains(name, "/") { // no name, but a path
			return bucket + path.Join("/", key, path.Join(names...))
		}
	}
	return strings.TrimSuffix(folder, "/") + "/" + strings.Join(names, "/")
}

// Dir is the folder that something is in; a bucket is in itself.
func Dir(name string) string {
	if !IsURL(name) {
		return filepath.Dir(name)
	}
	bucket, key := cut(name)
	return bucket + strings.TrimSuffix("/"+key[:strings.LastIndexByte(key, '/')+1], "/")
}

// Abs is a path that means the same from any folder.
func Abs(name string) (string, error) {
	if IsURL(name) {
		return name, nil
	}
	return filepath.Abs(name)
}

// Stat is about a file or folder.
func Stat(name string) (fs.FileInfo, error) {
	if IsURL(name) {
		return stat(name)
	}
	return os.Stat(name)
}

// Regular refuses what is no file with an end.
func Regular(name string) (fs.FileInfo, error) {
	if !IsURL(name) {
		return userfile.Regular(name)
	}
	info, err := stat(name)
	if err == nil && info.IsDir() {
		err = userfile.Refusal(name + " is a folder; put a file in its place")
	}
	return info, err
}

// Within refuses what Read refuses.
func Within(name string, most int64) (fs.FileInfo, error) {
	if !IsURL(name) {
		return userfile.Within(name, most)
	}
	info, err := Regular(name)
	if err == nil {
		err = within(name, info.Size(), most)
	}
	return info, err
}

func within(name string, size, most int64) error {
	if size > most {
		return userfile.Refusal(fmt.Sprintf("%s has %d bytes; the limit here is %d MiB", name, size, most>>20))
	}
	return nil
}

// Open opens a file with an end.
func Open(name string) (File, fs.FileInfo, error) {
	if !IsURL(name) {
		f, info, err := userfile.Open(name)
		if err != nil {
			return nil, nil, err
		}
		return f, info, nil
	}
	info, err := Regular(name)
	if err != nil {
		return nil, nil, err
	}
	at := At(name, info)
	return object{io.NewSectionReader(at, 0, info.Size())}, info, nil
}

// object is an open file in an object store, which has nothing to close.
type object struct{ *io.SectionReader }

func (object) Close() error { return nil }

// Read is the content of a file with an end, of most bytes at most.
func Read(name string, most int64) ([]byte, error) {
	if !IsURL(name) {
		return userfile.Read(name, most)
	}
	content, _, err := Get(name, most)
	return content, err
}

// Content is the content of the file that a setting names, of most bytes at most.
func Content(text string, most int64) ([]byte, error) {
	name, err := Named(text)
	if err != nil {
		return nil, err
	}
	return Read(name, most)
}

// Get is the content of a file in an object store, with what the file was like when it was read.
func Get(url string, most int64) ([]byte, fs.FileInfo, error) {
	s, key, err := storeOf(url)
	if err != nil {
		return nil, nil, err
	}
	defer oneOf(requests)()
	content, o, err := s.Get(key, most)
	if err != nil {
		return nil, nil, err
	}
	return content, info{o, path.Base(key)}, nil
}

// Put makes a file in an object store of one on this machine, in the place of one that is there.
func Put(url, file string) error {
	s, key, err := storeOf(url)
	if err != nil {
		return err
	}
	defer oneOf(requests)()
	return s.Put(key, file)
}

// Download makes a file on this machine of one in an object store.
func Download(url, to string) error {
	s, key, err := storeOf(url)
	if err != nil {
		return err
	}
	return atomicfile.Write(to, func(w io.Writer) error {
		o, err := s.Head(key)
		if err == nil {
			from := io.NewSectionReader(At(url, info{o, path.Base(key)}), 0, o.Size)
			_, err = io.CopyBuffer(w, from, make([]byte, 8<<20))
		}
		return err
	})
}

// Clock is the time as the object store of a folder has it, by which it says when objects were written. It takes the
// right to write there.
func Clock(folder string) (time.Time, error) {
	s, key, err := storeOf(folder + "/clock-" + rand.Text())
	if err != nil {
		return time.Time{}, err
	}
	defer oneOf(requests)()
	if err := s.Create(key, nil); err != nil {
		return time.Time{}, err
	}
	o, err := s.Head(key)
	return o.Modified, errors.Join(err, s.Delete(key))
}

// ReadDir lists a folder, sorted by names.
func ReadDir(name string) ([]fs.DirEntry, error) {
	if IsURL(name) {
		return readDir(name)
	}
	return os.ReadDir(name)
}

// Folder is an open folder, which is listed a part at a time.
type Folder interface {
	ReadDir(n int) ([]fs.DirEntry, error)
	io.Closer
}

// OpenDir opens a folder.
func OpenDir(name string) (Folder, error) {
	if !IsURL(name) {
		return os.Open(name)
	}
	entries, err := readDir(name)
	return &folder{entries}, err
}

// folder is one whose list is there.
type folder struct{ entries []fs.DirEntry }

func (f *folder) ReadDir(n int) ([]fs.DirEntry, error) {
	if len(f.entries) == 0 {
		return nil, io.EOF
	}
	some := f.entries[:min(n, len(f.entries))]
	f.entries = f.entries[len(some):]
	return some, nil
}

func (*folder) Close() error { return nil }

// Tag is what tells a file in an object store from another of the same size and time: a hash of its content or "".
func Tag(i fs.FileInfo) string {
	if o, is := i.(info); is {
		return o.Tag
	}
	return ""
}

// Same reports whether two looks at a file have seen the same content, as far as they tell. Who reads a file in an
// object store may be told its time in whole seconds.
func Same(a, b fs.FileInfo) bool {
	tagA, tagB := Tag(a), Tag(b)
	timeA, timeB := a.ModTime(), b.ModTime()
	if _, remote := a.(info); remote && (timeA.Nanosecond() == 0 || timeB.Nanosecond() == 0) {
		timeA, timeB = timeA.Truncate(time.Second), timeB.Truncate(time.Second)
	}
	return a.Size() == b.Size() && timeA.Equal(timeB) && (tagA == tagB || tagA == "" || tagB == "")
}

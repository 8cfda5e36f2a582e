package place

import (
	"container/list"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/vitft/vitft/engine/fault"
)

// Small parts of objects are read in blocks, which are kept: headers and directories of archives lie side by side.
const (
	blockSize  = 64 << 10
	mostAhead  = 16 // blocks that are read at once where one follows the other
	mostBlocks = 512
)

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// At reads a file in an object store at any place. One that is not any more what it was when info was taken is refused.
func At(url string, info fs.FileInfo) io.ReaderAt { return &reader{url, info} }

type reader struct {
	url  string
	info fs.FileInfo
}

// ReadAt implements [io.ReaderAt].
func (r *reader) ReadAt(p []byte, at int64) (n int, err error) {
	size := r.info.Size()
	switch {
	case at < 0:
		return 0, errors.New("read before the beginning of a file")
	case at >= size:
		return 0, io.EOF
	case int64(len(p)) > size-at:
		p, err = p[:size-at], io.EOF
	}
	if len(p) >= blockSize {
		if fault := r.fetch(p, at); fault != nil {
			return 0, fault
		}
		return len(p), err
	}
	for n < len(p) {
		content, fault := r.block((at + int64(n)) / blockSize)
		if fault != nil {
			return n, fault
		}
		n += copy(p[n:], content[(at+int64(n))%blockSize:])
	}
	return n, err
}

// fetch is one request.
func (r *reader) fetch(p []byte, at int64) error {
	s, key, err := storeOf(r.url)
	if err != nil {
		return err
	}
	defer oneOf(requests)()
	o, err := s.ReadAt(key, p, at)
	if err == nil && !Same(info{Object: o}, r.info) {
		err = fault.Data.Errorf("%s has changed while it was used; begin anew", r.url)
	}
	return err
}

// block is a part of the file, with those behind it where the one before it is there already.
func (r *reader) block(number int64) ([]byte, error) {
	b, fresh, ahead := kept.block(r.key(number), r.key(number-1))
	if !fresh {
		<-b.ready
		return b.content, b.err
	}
	from := number * blockSize
	p := make([]byte, min(ahead*blockSize, r.info.Size()-from))
	b.err = r.fetch(p, from)
	if b.err != nil {
		kept.drop(r.key(number))
	} else {
		b.content = p[:min(blockSize, len(p))]
		for k := int64(1); k*blockSize < int64(len(p)); k++ {
			kept.add(r.key(number+k), p[k*blockSize:min((k+1)*blockSize, int64(len(p)))], ahead)
		}
	}
	close(b.ready)
	return b.content, b.err
}

func (r *reader) key(number int64) string {
	return fmt.Sprint(r.url, "\n", r.info.Size(), r.info.ModTime().UnixNano(), Tag(r.info), "\n", number)
}

// blocks are those that were read last.
type blocks struct {
	sync.Mutex
	at    map[string]*list.Element
	order list.List
}

type block struct {
	key     string
	ready   chan struct{}
	content []byte
	err     error
	ahead   int64 // how many were read at once
}

var kept = blocks{at: map[string]*list.Element{}}

// block is that of a key; fresh if the caller has to fill it, and how many it should read.
func (b *blocks) block(key, before string) (_ *block, fresh bool, ahead int64) {
	b.Lock()
	defer b.Unlock()
	if e := b.at[key]; e != nil {
		b.order.MoveToFront(e)
		return e.Value.(*block), false, 0
	}
	ahead = 1
	if e := b.at[before]; e != nil {
		ahead = min(2*e.Value.(*block).ahead, mostAhead)
	}
	return b.put(&block{key: key, ready: make(chan struct{}), ahead: ahead}), true, ahead
}

// add adds a block that came with another.
func (b *blocks) add(key string, content []byte, ahead int64) {
	b.Lock()
	defer b.Unlock()
	if b.at[key] == nil {
		done := b.put(&block{key: key, ready: make(chan struct{}), content: content, ahead: ahead})
		close(done.ready)
	}
}

func (b *blocks) put(x *block) *block {
	b.at[x.key] = b.order.PushFront(x)
	for b.order.Len() > mostBlocks {
		last := b.order.Back()
		delete(b.at, last.Value.(*block).key)
		b.order.Remove(last)
	}
	return x
}

func (b *blocks) drop(key string) {
	b.Lock()
	defer b.Unlock()
	if e := b.at[key]; e != nil {
		delete(b.at, key)
		b.order.Remove(e)
	}
}

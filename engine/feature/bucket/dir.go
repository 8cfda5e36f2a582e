package bucket

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/edsrzf/mmap-go"

	"github.com/vitft/vitft/internal/atomicfile"
	"github.com/vitft/vitft/internal/disk"
	"github.com/vitft/vitft/internal/userfile"
)

// Dir is a folder on this machine; it and its folders are made by the first Publish. An object is a file: written under
// a temporary name, synced, linked, and the folder synced.
type Dir string

// List names the files whose paths in the folder begin with prefix.
func (d Dir) List(ctx context.Context, prefix string) ([]string, error) {
	var names []string
	top := d.Where(path.Dir(prefix + "x")) // the folder that all of them are in
	err := filepath.WalkDir(top, func(at string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // none yet, or removed meanwhile
		}
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		name, err := filepath.Rel(string(d), at)
		if name = filepath.ToSlash(name); !e.IsDir() && CheckName(name) == nil && strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
		return err
	})
	slices.Sort(names)
	return names, cmp.Or(err, ctx.Err())
}

// Open opens a file.
func (d Dir) Open(ctx context.Context, name string) (Object, error) {
	if err := errors.Join(ctx.Err(), CheckName(name)); err != nil {
		return nil, err
	}
	f, info, err := userfile.Open(d.Where(name))
	if err != nil {
		return nil, err
	}
	return &file{ReaderAt: f, size: info.Size()}, nil
}

// Publish makes a file, and the folders that it lies in.
func (d Dir) Publish(ctx context.Context, name string, fill func(io.Writer) error) error {
	if err := errors.Join(ctx.Err(), CheckName(name)); err != nil {
		return err
	}
	target := d.Where(name)
	if err := disk.MakeAll(filepath.Dir(target)); err != nil {
		return err
	}
	return atomicfile.Create(target, func(w io.Writer) error { return cmp.Or(fill(w), ctx.Err()) })
}

// SetAside renames a file.
func (d Dir) SetAside(ctx context.Context, name string) error {
	if err := errors.Join(ctx.Err(), CheckName(name)); err != nil {
		return err
	}
	return disk.Move(d.Where(name), d.Where(name+Aside))
}

// Delete removes a file.
func (d Dir) Delete(ctx context.Context, name string) error {
	if err := errors.Join(ctx.Err(), CheckName(name)); err != nil {
		return err
	}
	if err := disk.Delete(d.Where(name)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Tidy removes temporary files whose writers are gone.
func (d Dir) Tidy(ctx context.Context, folder string) ([]string, error) {
	removed, err := atomicfile.Clean(d.Where(folder))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return removed, errors.Join(err, ctx.Err())
}

// Hold implements [Holder]: it keeps a folder from being locked, and notes in the file that it is used now.
func (d Dir) Hold(_ context.Context, folder, file string) (io.Closer, error) {
	held, err := atomicfile.Share(d.Where(folder))
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(d.Where(file)); err == nil && time.Since(info.ModTime()) > noted {
		_ = disk.Used(d.Where(file)) // it may only be read
	}
	return held, nil
}

// noted is how exactly it is known when a folder was last used.
const noted = time.Hour

// Where is the path of a file.
func (d Dir) Where(name string) string { return filepath.Join(string(d), filepath.FromSlash(name)) }

// file is an open file or, once it is mapped, memory, which needs no open file. One goroutine at a time maps or closes.
type file struct {
	io.ReaderAt
	size int64
	data mmap.MMap
}

func (f *file) Size() int64 { return f.size }

func (f *file) Map() (_ []byte, err error) {
	open, is := f.ReaderAt.(*os.File)
	if !is {
		return f.data, nil
	}
	if f.size > 0 { // nothing cannot be mapped
		if f.data, err = mmap.Map(open, mmap.RDONLY, 0); err != nil {
			return nil, &fs.PathError{Op: "map", Path: open.Name(), Err: err}
		}
	}
	f.ReaderAt = bytes.NewReader(f.data)
	return f.data, open.Close()
}

func (f *file) Close() error {
	if open, is := f.ReaderAt.(*os.File); is {
		return open.Close()
	}
	if f.data == nil {
		return nil
	}
	return f.data.Unmap()
}

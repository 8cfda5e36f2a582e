package models

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/vitft/vitft/internal/disk"
)

// download loads a file's content, going on from what there is of it, and publishes it as blob once its digest is
// right.
func (s *session) download(ctx context.Context, r ref, f remote, blob string) error {
	if err := disk.MakeAll(filepath.Dir(blob)); err != nil {
		return err
	}
	partial := blob + ".incomplete"
	for again := false; ; again = true {
		d := transfer{session: s, of: r, remote: f}
		if err := d.run(ctx, partial); err != nil {
			return err
		}
		whole, err := f.digest.matches(ctx, partial)
		if err != nil {
			return fmt.Errorf("checking %s: %w", f.name, err)
		}
		if whole {
			return disk.Move(partial, blob)
		}
		if err := disk.Delete(partial); err != nil {
			return err
		}
		if !d.pieced || again {
			return fmt.Errorf("%w: what came as %s:%s does not have the digest %v that the hub promises; it was "+
				"deleted. If pulling again does not help, the file on the hub (or mirror, HF_ENDPOINT) is damaged",
				ErrCorrupt, r.repository, f.name, f.digest)
		}
		s.Note(f.name + ": the pieces do not fit together; loading it anew in one")
	}
}

type transfer struct {
	*session
	of ref
	remote
	file   *os.File
	offset int64  // bytes in file
	etag   string // of the content as its host calls it, if that is a strong one
	pieced bool   // file may have bytes of more than one answer
}

// run loads until the file has its size, or until there is no use in going on. What came stays in the file.
func (d *transfer) run(ctx context.Context, path string) (err error) {
	// The pieces go to their own offsets: should two processes load at once, where locks do not work, they write the
	// same bytes.
	if d.file, err = disk.OpenToWrite(path, os.O_CREATE); err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, d.file.Close()) }()
	info, err := d.file.Stat()
	if err != nil {
		return err
	}
	d.offset, d.pieced = info.Size(), info.Size() > 0
	if d.size >= 0 && d.offset > d.size {
		if err := d.restart(); err != nil {
			return err
		}
	}
	furthest := d.offset
	err = d.persist(ctx, d.name, func() (bool, error) {
		if d.offset == d.size {
			return false, nil
		}
		err := d.piece(ctx)
		advanced := d.offset > furthest
		furthest = max(furthest, d.offset)
		return advanced, err
	})
	kept := fmt.Sprintf("%s of %s are kept, and the same command goes on from there", megabytes(d.offset), d.name)
	switch {
	case err == nil:
		return disk.Keep(d.file)
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted; %s: %w", kept, err)
	}
	return fmt.Errorf("%w; %s", err, kept)
}

func (d *transfer) restart() error {
	d.offset, d.pieced = 0, false
	return disk.Cut(d.file, 0)
}

func (d *transfer) piece(ctx context.Context) error {
	header := http.Header{}
	if d.offset > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", d.offset))
		if d.etag != "" {
			header.Set("If-Range", d.etag)
		}
	}
	resp, err := d.send(ctx, http.MethodGet, d.url, header)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	total := resp.ContentLength
	switch resp.StatusCode {
	case http.StatusOK: // from the beginning: there was nothing, the content changed, or ranges are not supported
		if err := d.restart(); err != nil {
			return err
		}
	case http.StatusPartialContent:
		var start int64
		if start, total, err = parseContentRange(resp.Header.Get("Content-Range")); err != nil || start != d.offset {
			return d.startOver(fmt.Sprintf("%s sends the range %q where bytes %d- were asked for",
				resp.Request.URL.Host, resp.Header.Get("Content-Range"), d.offset))
		}
		d.pieced = d.offset > 0
	case http.StatusRequestedRangeNotSatisfiable:
		return d.startOver(fmt.Sprintf("%s has no bytes after %d", resp.Request.URL.Host, d.offset))
	default:
		return d.refusal(resp, d.of)
	}
	if encoding := resp.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return &transient{text: fmt.Sprintf("%s sends it compressed (%s), which was not asked for",
			resp.Request.URL.Host, encoding)}
	}
	if d.etag = resp.Header.Get("ETag"); !strings.HasPrefix(d.etag, `"`) {
		d.etag = ""
	}
	if d.size < 0 {
		d.size = total
	}
	return d.receive(ctx, resp.Body)
}

// startOver is for a server that cannot go on from where the file ends.
func (d *transfer) startOver(why string) error {
	if err := d.restart(); err != nil {
		return err
	}
	return &transient{text: why}
}

// receive appends a body to the file, up to the content's size. The digest tells whether the content is right, so what
// follows does not matter.
func (d *transfer) receive(ctx context.Context, body io.Reader) error {
	buf := make([]byte, 256<<10)
	for d.offset != d.size {
		n, err := body.Read(buf)
		if d.size >= 0 {
			n = int(min(int64(n), d.size-d.offset))
		}
		if n > 0 {
			written, err := disk.To{File: d.file}.WriteAt(buf[:n], d.offset)
			d.offset += int64(written)
			if err != nil {
				return fmt.Errorf("writing to the cache: %w", err)
			}
			d.Progress(d.name, d.offset, d.size)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == io.EOF && d.size < 0:
			d.size = d.offset // nobody said how long it is
		case err != nil && d.offset != d.size:
			return d.failure(ctx, err)
		}
	}
	return nil
}

// parseContentRange reads "bytes START-END/TOTAL", where TOTAL may be *, which is -1.
func parseContentRange(value string) (start, total int64, err error) {
	var end int64
	_, err = fmt.Sscanf(strings.Replace(value, "/*", "/-1", 1), "bytes %d-%d/%d", &start, &end, &total)
	if err != nil || start < 0 || end < start || end >= total && total != -1 {
		return 0, 0, fmt.Errorf("%q is no range", value)
	}
	return start, total, nil
}

func megabytes(n int64) string {
	if n < 1e5 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

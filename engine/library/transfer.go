package library

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/internal/disk"
	"github.com/vitft/vitft/internal/userfile"
)

const (
	tries       = 5
	largestPage = 32 << 20 // of an index: that of onnxruntime has 0.4 MB
	largestFile = 4 << 30
)

// lasting is a failure that another try would not mend.
type lasting struct{ error }

func (l lasting) Unwrap() error { return l.error }

var errStalled = errors.New("the connection stalled")

// page fetches a page; at is where it was found in the end.
func (g getter) page(address string) (text []byte, at *url.URL, err error) {
	err = g.persist(func() (bool, error) {
		return false, g.request(address, nil, func(resp *http.Response, body io.Reader) error {
			if resp.StatusCode != http.StatusOK {
				return refused(resp)
			}
			at = resp.Request.URL
			text, err = io.ReadAll(io.LimitReader(body, largestPage))
			return err
		})
	})
	return text, at, err
}

// download fetches a file into the folder, going on from what there is of it, and checks its sum unless that is "". The
// caller deletes it.
func (g getter) download(address, sum string) (string, error) {
	name := path.Base(address)
	if u, err := url.Parse(address); err == nil {
		name = path.Base(u.Path)
	}
	hash := sha256.Sum256([]byte(address + sum)) // what another address or pin has left is none of this
	partial := filepath.Join(g.Out, ".fetch-"+hex.EncodeToString(hash[:8]))
	for again := false; ; again = true {
		pieced, err := g.transfer(address, name, partial)
		if err != nil {
			return "", err
		}
		got, err := sumOf(partial)
		if err != nil || sum == "" || got == sum {
			return partial, err
		}
		if err := disk.Delete(partial); err != nil {
			return "", err
		}
		if !pieced || again {
			return "", fault.Runtime.Errorf("what came as %s has the SHA-256 %s, not the pinned %s; it was deleted. "+
				"If another try does not help, what is at %s is damaged, or not what it says", name, got, sum,
				host(address))
		}
	}
}

// transfer loads until the file is whole. It is pieced if it has bytes of more than one answer.
func (g getter) transfer(address, name, to string) (pieced bool, err error) {
	f, err := disk.OpenToWrite(to, os.O_CREATE)
	if err != nil {
		return false, err
	}
	defer func() { err = cmp.Or(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	at, total := info.Size(), int64(-1)
	pieced = at > 0
	err = g.persist(func() (bool, error) {
		began := at
		header := http.Header{}
		if at > 0 {
			header.Set("Range", fmt.Sprintf("bytes=%d-", at))
		}
		err := g.request(address, header, func(resp *http.Response, body io.Reader) error {
			restart := func() error { at, pieced = 0, false; return disk.Cut(f, 0) }
			switch resp.StatusCode {
			case http.StatusOK:
				if err := restart(); err != nil {
					return lasting{err}
				}
				total = resp.ContentLength
			case http.StatusPartialContent:
				var from, until int64
				n, _ := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/%d", &from, &until, &total)
				if n != 3 || from != at {
					err := fmt.Errorf("%s sends another range than was asked for", host(address))
					return errors.Join(err, restart())
				}
				pieced = at > 0
			case http.StatusRequestedRangeNotSatisfiable:
				if n, _ := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes */%d", &total); n == 1 && total == at {
					return nil // it was whole
				}
				return errors.Join(fmt.Errorf("%s has no bytes after %d", host(address), at), restart())
			default:
				return refused(resp)
			}
			return g.receive(f, &at, total, name, body)
		})
		return at > began, err
	})
	return pieced, cmp.Or(err, disk.Keep(f))
}

// receive appends a body to a file.
func (g getter) receive(f *os.File, at *int64, total int64, name string, body io.Reader) error {
	buffer := make([]byte, 256<<10)
	for {
		n, err := body.Read(buffer)
		if *at+int64(n) > largestFile {
			return lasting{fmt.Errorf("%s is larger than %d bytes", name, int64(largestFile))}
		}
		if n > 0 {
			written, err := disk.To{File: f}.WriteAt(buffer[:n], *at)
			*at += int64(written)
			if err != nil {
				return lasting{err}
			}
			if total > 0 {
				g.events.Report(event.Pull, name, int(*at), int(total))
			}
		}
		switch {
		case err == io.EOF && total >= 0 && *at < total:
			return fmt.Errorf("the connection broke off after %d of %d bytes", *at, total)
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// persist calls try until it succeeds, fails for good, or fails too often in a row without anything new.
func (g getter) persist(try func() (advanced bool, err error)) error {
	for failures := 0; ; {
		advanced, err := try()
		if err == nil || g.ctx.Err() != nil {
			return cmp.Or(g.ctx.Err(), err)
		}
		if _, is := errors.AsType[lasting](err); is {
			return err
		}
		if advanced {
			failures = 0
		}
		if failures++; failures == tries {
			return fmt.Errorf("%w (tried %d times)", err, tries)
		}
		wait := g.Backoff << (failures - 1)
		g.events.Info("trying again", "reason", err, "in", wait.String())
		select {
		case <-g.ctx.Done():
			return g.ctx.Err()
		case <-time.After(wait):
		}
	}
}

// request makes one request, of which connecting, answering and each read of the body may take as long as a stalled
// connection is borne.
func (g getter) request(address string, header http.Header, take func(*http.Response, io.Reader) error) error {
	ctx, cancel := context.WithCancelCause(g.ctx)
	defer cancel(nil)
	timer := time.AfterFunc(g.Stall, func() { cancel(errStalled) })
	defer timer.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return lasting{fault.Config.Errorf("mirror: %w", err)}
	}
	for key, values := range header {
		req.Header[key] = values
	}
	req.Header.Set("User-Agent", "vitft")
	req.Header.Set("Accept", "text/html, */*;q=0.5")
	resp, err := http.DefaultClient.Do(req)
	if err == nil {
		defer resp.Body.Close()
		err = take(resp, watched{resp.Body, timer, g.Stall})
	}
	var failed *url.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(context.Cause(ctx), errStalled):
		return fmt.Errorf("%s: %w", host(address), errStalled)
	case errors.As(err, &failed): // without the address, which may have a password in it
		return fmt.Errorf("%s: %w", host(failed.URL), failed.Err)
	}
	return err
}

// watched puts the end of a stalled connection off with every read.
type watched struct {
	io.Reader
	timer *time.Timer
	stall time.Duration
}

func (w watched) Read(p []byte) (int, error) {
	w.timer.Reset(w.stall)
	return w.Reader.Read(p)
}

// refused is what an answer other than the one hoped for means.
func refused(resp *http.Response) error {
	err := fmt.Errorf("%s answers %s for %s", resp.Request.URL.Host, resp.Status, resp.Request.URL.Path)
	if s := resp.StatusCode; s >= 500 || s == http.StatusTooManyRequests || s == http.StatusRequestTimeout {
		return err
	}
	return lasting{err}
}

func host(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "the address"
	}
	return u.Host
}

// sumOf is the SHA-256 of a file.
func sumOf(path string) (string, error) {
	f, _, err := userfile.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return strings.ToLower(hex.EncodeToString(h.Sum(nil))), nil
}

package cloud

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/vitft/vitft/engine/feature/bucket"
)

// noted is how exactly it is known when a folder was last used.
const noted = time.Hour

// Hold implements [bucket.Holder]: it puts the object bucket.Used into a folder, and again every hour. Who prunes goes
// by the time of that. What cannot be put, as where only reading is allowed, keeps nobody from a folder.
func (b *Bucket) Hold(ctx context.Context, folder, file string) (io.Closer, error) {
	_ = b.note(ctx, folder)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	// Only now: whoever has removed the file before did not see that the folder is used, and others do from now on.
	if _, err := retry(ctx, func(ctx context.Context) (struct{}, error) {
		_, err := b.objects.Attributes(ctx, file)
		return struct{}{}, err
	}); codeOf(err) == gcerrors.NotFound {
		_ = b.forget(file)
		return nil, b.explain("hold", file, err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	var renewing sync.WaitGroup
	renewing.Go(func() {
		again := time.NewTicker(noted)
		defer again.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-again.C:
				_ = b.note(ctx, folder) // else it is the next time
			}
		}
	})
	return closer(func() error { stop(); renewing.Wait(); return nil }), nil
}

// note puts the object that says that a folder is used, unless somebody has within the hour: of many machines one does.
func (b *Bucket) note(ctx context.Context, folder string) error {
	name := folder + "/" + bucket.Used
	_, err := retry(ctx, func(ctx context.Context) (struct{}, error) {
		there, err := b.objects.Attributes(ctx, name)
		if err == nil && time.Since(there.ModTime).Abs() < noted { // a clock that is slow must not make it young
			return struct{}{}, nil
		}
		return struct{}{}, b.objects.Upload(ctx, name, bytes.NewReader(nil),
			&blob.WriterOptions{ContentType: "application/octet-stream"})
	})
	return err
}

type closer func() error

func (c closer) Close() error { return c() }

package work

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/feature/store"
	"github.com/vitft/vitft/internal/atomicfile"
	"github.com/vitft/vitft/internal/disk"
	"github.com/vitft/vitft/onnx"
	"github.com/vitft/vitft/onnx/vision"
)

// prepare opens the backbone of a job, in place of that of another.
func (w *worker) prepare(ctx context.Context, hash string) error {
	if w.hash == hash {
		return nil
	}
	job, err := w.jobs.job(ctx, hash)
	if err != nil {
		return err
	}
	w.close()
	w.jobs.tidy(ctx, hash)
	model, err := w.model(ctx, job.Model)
	if err != nil {
		return err
	}
	d := w.Device
	d.Provider = job.Keys[0].Provider
	of, err := backbone.OpenModel(model, backbone.Exported{Preprocess: job.Preprocess, Key: job.Keys[0],
		Standalone: true}, d, w.events)
	if err != nil {
		err = fmt.Errorf("job %s: %w", hash, err)
		if _, loaded := onnx.Loaded(); loaded {
			err = unableError{err}
		}
		return err
	}
	if mine, _ := onnx.Loaded(); job.Library != "" && job.Library != mine.Version {
		return unableError{errors.Join(fault.Runtime.Errorf("job %s wants features of ONNX Runtime %s, which the "+
			"submitting machine has, this worker has %s, whose features may differ in the last bits: start it with "+
			"--ort-lib and version %s, or submit the job with --any-library", hash, job.Library, mine.Version,
			job.Library), of.Close())}
	}
	views, err := viewsOf(job.Keys)
	if err != nil {
		return unableError{errors.Join(err, of.Close())}
	}
	open, err := feature.OpenUnread(ctx, of, views, w.Features, w.events)
	if err != nil {
		return errors.Join(err, of.Close())
	}
	w.open, w.of = open, of
	if mine := open.Keys(len(views)); !slices.Equal(mine, job.Keys) {
		w.close()
		return unableError{fault.Runtime.Errorf("job %s wants features of %v, this worker makes %v: it needs another "+
			"provider or version", hash, job.Keys, mine)}
	}
	w.hash, w.job, w.held = hash, job, w.jobs.hold(ctx, hash)
	return nil
}

// model is the file of a job's model on this machine.
func (w *worker) model(ctx context.Context, hash string) (string, error) {
	name := modelFolder + "/" + hash
	content, err := w.jobs.read(ctx, name)
	if err != nil {
		return "", err
	}
	if sum(content) != hash {
		return "", w.jobs.damaged(ctx, name, "it is not the graph of that hash")
	}
	path := filepath.Join(w.Features.Here(), feature.ModelsFolder, hash+".onnx")
	if err := disk.MakeAll(filepath.Dir(path)); err != nil {
		return "", err
	}
	return path, atomicfile.Write(path, func(to io.Writer) error { _, err := to.Write(content); return err })
}

// viewsOf are the views that keys are of.
func viewsOf(keys []store.Key) ([]vision.View, error) {
	views := vision.Views(len(keys))
	for k, v := range views {
		want := ""
		if k > 0 {
			want = v.String()
		}
		if keys[k].View != want {
			return nil, fault.Data.Errorf("view %q of the job is not this program's %q", keys[k].View, want)
		}
	}
	return views, nil
}

// close lets go of the job that is open.
func (w *worker) close() {
	if w.open != nil && !w.lent {
		_ = w.open.Close()
		_ = w.of.Close()
	}
	if w.held != nil {
		_ = w.held.Close()
	}
	w.open, w.of, w.held, w.hash, w.lent = nil, nil, nil, "", false
}

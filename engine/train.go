package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"time"

	"github.com/vitft/vitft/head"
)

// checkpointEvery is the least time between two checkpoints; short trainings
// write one at their end or interruption only.
const checkpointEvery = 5 * time.Second

// training is the training of one head into a run folder.
type training struct {
	run    runFolder
	config Config
	enc    *encoding
	sets   *encodedSets
	gemm   head.Gemm
	events Events

	settings head.Settings // what train trained with
	data     head.Data     // and on
	seconds  float64       // spent training and calibrating, before an interruption too
}

// train runs head.Train on the stored features, from the checkpoint if there is
// one, keeping history, κ and checkpoints in the run folder as it goes.
func (t *training) train(ctx context.Context) (*head.Head, error) {
	begin := time.Now()
	s, err := t.config.settings()
	if err != nil {
		return nil, err
	}
	s.Gemm = t.gemm
	if t.data, err = t.enc.trainData(t.sets.train); err != nil {
		return nil, err
	}
	t.settings = s
	if val := t.sets.val; val != nil {
		data, err := t.enc.evalData(val)
		if err != nil {
			return nil, err
		}
		s.Val = &data
	}
	saved, err := t.resume(len(t.data.Y))
	if err != nil {
		return nil, err
	}
	if saved != nil {
		s.Resume = &saved.State
		begin = begin.Add(-time.Duration(saved.Seconds * float64(time.Second)))
	}
	log, err := openHistory(t.run, t.sets.train.data.Classes, s.Resume)
	if err != nil {
		return nil, err
	}
	save := func(state *head.State) error {
		return t.run.writeCheckpoint(checkpoint{Key: t.enc.storeKey(), Samples: len(t.data.Y), Seconds: time.Since(begin).Seconds(), State: *state})
	}
	last := time.Now()
	ctx, stop := context.WithCancelCause(ctx) // a full disk ends training too
	defer stop(nil)
	s.Events = head.Events{
		Warn: func(message string) { t.events.warn(message) },
		Epoch: func(e head.Epoch, state *head.State) {
			err := log.add(e)
			if err == nil && time.Since(last) >= checkpointEvery {
				err, last = save(state), time.Now()
			}
			if err != nil {
				stop(err)
			}
			if t.events.Epoch != nil {
				t.events.Epoch(e)
			}
			t.events.progress("train", t.config.Loss, e.Number, t.config.Epochs)
		},
	}
	result, err := head.Train(ctx, t.data, s)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	if result != nil {
		err = errors.Join(err, save(result.State))
	}
	if err = errors.Join(err, log.close()); err != nil {
		return nil, fmt.Errorf("train the head: %w", err)
	}
	t.seconds = time.Since(begin).Seconds()
	return result.Head, nil
}

// resume returns the checkpoint to continue from, nil for a fresh start.
func (t *training) resume(samples int) (*checkpoint, error) {
	saved, err := t.run.readCheckpoint()
	if err != nil || saved == nil {
		return nil, err
	}
	if saved.Key != t.enc.storeKey() || saved.Samples != samples {
		return nil, dataError("the images, the backbone or the provider have changed since %s was interrupted; start the run anew without --resume", t.run)
	}
	t.events.info("training goes on", "after epoch", saved.State.Epoch)
	return saved, nil
}

// history writes history.jsonl and kappa.csv, which grow by an epoch at a time.
type history struct {
	classes       []string
	epochs, kappa *os.File
}

// openHistory begins both files anew with the epochs of the state to resume
// from, so that they always agree with it, whatever an interrupted run left.
func openHistory(run runFolder, classes []string, from *head.State) (_ *history, err error) {
	h := &history{classes: classes}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.close())
		}
	}()
	if h.epochs, err = os.Create(run.path(historyFile)); err != nil {
		return h, err
	}
	if h.kappa, err = os.Create(run.path(kappaFile)); err != nil {
		return h, err
	}
	if _, err = h.kappa.WriteString("epoch,phase,class,kappa,std_err,samples,bins,skipped,shrunk\n"); err != nil {
		return h, err
	}
	if from != nil {
		for _, e := range from.History {
			if err = h.add(e); err != nil {
				return h, err
			}
		}
	}
	return h, nil
}

func (h *history) add(e head.Epoch) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if _, err := h.epochs.Write(append(line, '\n')); err != nil {
		return err
	}
	var rows [][]string
	for k, v := range e.Kappa {
		rows = append(rows, []string{strconv.Itoa(e.Number), string(e.Phase), h.classes[k], formatFloat(v.Value), formatFloat(v.StdErr),
			strconv.Itoa(v.Samples), strconv.Itoa(v.Bins), strconv.FormatBool(v.Skipped), strconv.FormatBool(v.Shrunk)})
	}
	text, err := csvText(rows)
	if err != nil {
		return err
	}
	_, err = h.kappa.Write(text)
	return err
}

// close closes what was opened.
func (h *history) close() error {
	var errs []error
	for _, f := range []*os.File{h.epochs, h.kappa} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// formatFloat writes the shortest text that reads back as v; nothing for NaN.
func formatFloat(v float64) string {
	if math.IsNaN(v) {
		return ""
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

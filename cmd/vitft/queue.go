//go:build !slim

package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/engine/work"
)

// queueToken is the environment variable with the token of a queue.
const queueToken = work.TokenVariable

// queue is what encode lets other machines help by. A build with the tag slim has none: slim.go.
type queue struct {
	work.Queue
	most int // images in a task
}

func (q *queue) fields() []setting.Field {
	return append(q.Fields(), setting.In("queue",
		setting.Number("task-images", &q.most, 512, setting.Between(1, 1<<16),
			"images in a task of --queue at most").Here(),
	)...)
}

// ahead encodes images on the queue, nil if none is named. It is opened for the first of them, and closed by done.
func (q *queue) ahead(a *app) (ahead feature.Ahead, done func()) {
	if q.URL == "" {
		return nil, func() {}
	}
	var open *work.Submitter
	ahead = func(ctx context.Context, images *dataset.Sets, b *backbone.Backbone, x *feature.Extractor,
		views int) (err error) {
		if open == nil {
			if open, err = work.Open(ctx, q.Queue, x.Options(), a.events()); err != nil {
				return err
			}
		}
		return open.Submit(ctx, work.Submission{Images: images, Backbone: b, Features: x, Views: views,
			TaskImages: q.most})
	}
	return ahead, func() {
		if open != nil {
			open.Close()
		}
	}
}

func (a *app) workerCommand() *cobra.Command {
	var o work.WorkerOptions
	cmd := &cobra.Command{
		Use:   "worker --queue nats://HOST:PORT --cache PLACE",
		Short: "Does the tasks of 'vitft encode --queue', on any number of machines",
		Long: `worker encodes images as a queue gives them out, of any job whose features are kept in --cache, until it is
told to stop; a task that is under way then goes back at once. It needs neither backbone nor lists: they
are in the cache. Images are read by the paths that the job has. A secret of the queue is the environment
variable ` + work.TokenVariable + `.`,
		Example: `  vitft worker --queue nats://10.0.0.1:4222 --cache s3://team/vitft --read /photos`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := work.Serve(cmd.Context(), o, a.events())
			if cmd.Context().Err() != nil { // that is how it ends
				return nil
			}
			return err
		},
	}
	a.declare(cmd, o.Fields()...)
	return cmd
}

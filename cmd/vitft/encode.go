package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/engine/work"
)

func (a *app) encodeCommand() *cobra.Command {
	var o engine.EncodeOptions
	var q work.Queue
	var most int
	cmd := &cobra.Command{
		Use:   "encode --train IMAGES [--test IMAGES]",
		Short: "Images + backbone → feature store, no training",
		Long: `encode fills the feature store that finetune reads. What is stored already is not encoded again,
so several machines or processes can share a cache folder, each with its own --shard, or all of
them the tasks of a queue: --queue serve:HOST:PORT opens one here, and 'vitft worker' on the others does tasks.`,
		Example: `  vitft encode --backbone vit_b16.onnx --train train.csv --test test.csv
  vitft encode --train photos --shard 1/4
  vitft encode --train photos --cache s3://team/vitft --queue serve:0.0.0.0:4222`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if q.URL != "" {
				o.Ahead = a.submit(q, most)
			}
			result, err := engine.Encode(cmd.Context(), o, a.events())
			for _, r := range result.Sets {
				if err := a.printf("%s: %d images, %d encoded now, %d from the store, %d unreadable, %.1f images/s, "+
					"views of each: %d\n",
					r.What, r.Images, r.Encoded, r.Cached, r.Unreadable, r.Rate(), r.Views); err != nil {
					return err
				}
			}
			return err
		},
	}
	a.declare(cmd, slices.Concat(o.Fields(), q.Fields(), setting.In("queue",
		setting.Number("task-images", &most, 512, setting.Between(1, 1<<16),
			"images in a task of --queue at most").Here(),
	))...)
	return cmd
}

// submit encodes images on a queue.
func (a *app) submit(q work.Queue, most int) func(context.Context, *dataset.Sets, *backbone.Backbone,
	*feature.Extractor, int) error {
	return func(ctx context.Context, images *dataset.Sets, b *backbone.Backbone, x *feature.Extractor,
		views int) error {
		s := work.Submission{Images: images, Backbone: b, Features: x, Views: views, TaskImages: most}
		return work.Submit(ctx, s, q, a.events())
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

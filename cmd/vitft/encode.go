package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/vitft/vitft/engine"
)

func (a *app) encodeCommand() *cobra.Command {
	var o engine.EncodeOptions
	var q queue
	cmd := &cobra.Command{
		Use:   "encode --train IMAGES [--test IMAGES]",
		Short: "Images + backbone → feature store, no training",
		Long: `encode fills the feature store that finetune reads. What is stored already is not encoded again,
so several machines or processes can share a cache folder, each with its own --shard, or all of
them the tasks of a queue: --queue serve:HOST:PORT opens one here, and 'vitft worker' on the others does tasks.
With the --adapt, --adapt-blocks and --augment of the run to come it encodes the tokens too that this learns from.
--dry-run says what would be encoded, how much disk that takes and how long, and what is wrong with the data.`,
		Example: `  vitft encode --backbone vit_b16.onnx --train train.csv --test test.csv
  vitft encode --train photos --shard 1/4
  vitft encode --train photos --adapt adapter+norm --dry-run
  vitft encode --train photos --cache s3://team/vitft --queue serve:0.0.0.0:4222`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ahead, done := q.ahead(a)
			defer done()
			o.Ahead = ahead
			result, err := engine.Encode(cmd.Context(), o, a.events())
			if result.Forecast != nil {
				return errors.Join(a.printf("%s", result.Forecast.Text()), err)
			}
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
	a.declare(cmd, append(o.Fields(), q.fields()...)...)
	return cmd
}

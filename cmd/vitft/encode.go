package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vitft/vitft/engine"
)

func (a *app) encodeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "encode --train IMAGES [--test IMAGES]",
		Short: "Images + backbone → feature store, no training",
		Long: "encode fills the feature store that finetune reads. What is stored already is not encoded again,\n" +
			"so several machines or processes can share a cache folder, each with its own --shard.",
		Example: "  vitft encode --backbone vit_b16.onnx --train train.csv --test test.csv\n" +
			"  vitft encode --train photos --shard 1/4",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.config()
			if err != nil {
				return err
			}
			shard, err := parseShard(a.settings.GetString("shard"))
			if err != nil {
				return err
			}
			results, err := engine.Encode(cmd.Context(), c, shard, a.events())
			for _, r := range results {
				if err := a.printf("%s: %d images, %d encoded now, %d from the store, %d unreadable, %.1f images/s, views of each: %d\n",
					r.What, r.Images, r.Encoded, r.Cached, r.Unreadable, r.Rate(), r.Views); err != nil {
					return err
				}
			}
			return err
		},
	}
	d := engine.DefaultConfig()
	f := cmd.Flags()
	trainingDataFlags(f, d)
	encoderFlags(f, d)
	f.String("shard", "", "encode only part i of N, written i/N with i from 1")
	return cmd
}

// parseShard reads "i/N"; empty means everything.
func parseShard(s string) (engine.Shard, error) {
	if s == "" {
		return engine.Shard{}, nil
	}
	first, second, ok := strings.Cut(s, "/")
	i, err1 := strconv.Atoi(first)
	n, err2 := strconv.Atoi(second)
	if !ok || err1 != nil || err2 != nil || n < 1 || i < 1 || i > n {
		return engine.Shard{}, fmt.Errorf("%w: shard is %q; write i/N with i from 1 to N", errUsage, s)
	}
	return engine.Shard{Index: i - 1, Count: n}, nil
}

package main

import (
	"github.com/spf13/cobra"

	"github.com/vitft/vitft/engine"
)

func (a *app) embedCommand() *cobra.Command {
	var o engine.EmbedOptions
	cmd := &cobra.Command{
		Use:   "embed --train IMAGES [--test IMAGES] --out FILE",
		Short: "Images + backbone → one file of embeddings with path, label and split",
		Long: `embed writes the features that finetune learns from to one file, for other programs and for finetune
itself: Parquet, .npz, .npy with a .csv of its rows beside, or .safetensors, as the extension of --out says.
Images are encoded once and kept in the feature store. A head that is trained on the file is the one that is
trained on the images.`,
		Example: `  vitft embed --backbone vit_b16.onnx --train photos/train --test photos/test --out features.parquet
  vitft embed --run run --test photos/new --out new.npz
  vitft finetune --train features.parquet --out head`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			result, err := engine.Embed(cmd.Context(), o, a.events())
			if err != nil {
				return err
			}
			for _, r := range result.Sets {
				if err := a.printf("%s: %d images, %d encoded now, %d from the store, %d unreadable\n",
					r.What, r.Images, r.Encoded, r.Cached, r.Unreadable); err != nil {
					return err
				}
			}
			return a.printf("embeddings of %d values: %s\n", result.Dim, result.Out)
		},
	}
	a.declare(cmd, o.Fields()...)
	return cmd
}

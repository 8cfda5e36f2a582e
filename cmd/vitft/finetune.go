package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vitft/vitft/engine"
)

func (a *app) finetuneCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "finetune --train IMAGES [--test IMAGES] [--out RUN]",
		Short: "Images + backbone → run folder with a trained head",
		Long: "finetune encodes the images once with the frozen backbone, trains a head on the features\n" +
			"and writes a run folder: model.onnx, metrics.json, predictions.csv, kappa.csv, history.jsonl and\n" +
			"config.yaml, which reproduces the run. Ctrl-C saves the state; --resume goes on from it.",
		Example: "  vitft finetune --train photos/train --test photos/test --out run\n" +
			"  vitft finetune --backbone vit_b16.onnx --train train.csv --val 0.1 --loss ce --out run-ce\n" +
			"  vitft finetune --config run/config.yaml --out again",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.config()
			if err != nil {
				return err
			}
			result, err := engine.Finetune(cmd.Context(), c, a.settings.GetBool("resume"), a.events())
			if err != nil {
				return err
			}
			return a.printMetrics(result.Metrics, result.Run)
		},
	}
	d := engine.DefaultConfig()
	f := cmd.Flags()
	trainingDataFlags(f, d)
	encoderFlags(f, d)
	trainingFlags(f, d)
	calibrationFlags(f, d)
	f.String("out", d.Out, "run folder; one that is there already is kept under another name")
	f.Bool("resume", false, "go on with the interrupted run in --out")
	return cmd
}

// trainingFlags are the settings of the head and its training. Those without a
// number get the default that docs/method.md gives for the loss.
func trainingFlags(f *pflag.FlagSet, d engine.Config) {
	f.String("loss", d.Loss, "loss: "+strings.Join(engine.Losses(), ", "))
	f.Int("epochs", d.Epochs, "epochs")
	f.Float64("switch", *d.Switch, "T0, where a two-phase loss switches: an epoch, or a fraction of the epochs below 1")
	f.Float64("restart", *d.Restart, "fraction of the learning rate at which the schedule starts anew at T0 (0: one cosine throughout)")
	f.Float64("gamma", *d.Gamma, "γ of the class-dependent scales")
	f.Float64("tau", *d.Tau, "τ of the log priors")
	f.Float64("rho", *d.Rho, "ρ of the late phase's class weights")
	f.Float64("focus", *d.Focus, "γ of the focal loss")
	f.Float64("margin", *d.Margin, "margin of ldam for the rarest class")
	f.Float64("noise", d.Noise, "length of the noise added to features in training, relative to theirs")
	f.Int("experts", d.Experts, "heads trained together; their mean is the head")
	f.Float64("subspace", d.Subspace, "share of the features that each of several experts sees")
	f.Float64("diversity", d.Diversity, "how hard experts' predictions are pushed apart")
	f.String("kappa", d.Kappa, "estimator of κ: "+strings.Join(engine.KappaEstimators(), ", ")+"; options behind a colon, as in slope:by=label,shrink=50")
	f.Uint64("seed", d.Seed, "seed of everything random in training and --val")
	f.String("head", d.Head, "head: cosine or linear")
	f.Float64("scale", d.Scale, "scale of the cosine head's logits")
	f.Bool("learn-scale", d.LearnScale, "train that scale too")
	f.String("start", d.Start, "start at the class means (mean) or at zero")
	f.String("feature-scaling", d.FeatureScaling, "features before the head: whiten, standardize, center or raw")
	f.Float64("shrinkage", d.Shrinkage, "shrinkage of the within-class covariance, for whiten")
	f.Int("head-batch", d.HeadBatch, "samples of one update")
	f.String("optimizer", d.Optimizer, "sgd or adamw")
	f.Float64("lr", d.LR, "peak learning rate")
	f.Float64("momentum", *d.Momentum, "momentum of sgd")
	f.Bool("nesterov", d.Nesterov, "Nesterov momentum")
	f.Float64("weight-decay", *d.WeightDecay, "weight decay")
	f.Int("warmup", d.Warmup, "epochs of linear warm-up")
}

// calibrationFlags are the settings of what is done with images held back.
func calibrationFlags(f *pflag.FlagSet, d engine.Config) {
	f.String("calibration", d.Calibration, "calibration of the probabilities, on --val or out of fold: "+strings.Join(engine.Calibrations(), ", "))
	f.Int("folds", d.Folds, "parts that training images are cut into, to calibrate or select without validation images")
}

// printMetrics writes the result table to standard output.
func (a *app) printMetrics(m engine.Metrics, run string) error {
	if err := a.printf("%s", table(m)); err != nil {
		return err
	}
	if run == "" {
		return nil
	}
	return a.printf("run folder: %s\n", run)
}

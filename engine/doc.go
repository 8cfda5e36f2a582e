// Package engine fine-tunes a frozen vision transformer for long-tailed image
// classification: it puts backbone, images, feature store, head and metrics
// together into a run.
//
// # Basics
//
//	result, err := engine.Finetune(ctx, engine.Config{
//		Backbone: "vit_b16.onnx", Train: "photos/train", Test: "photos/test", Out: "run",
//	}, false, engine.Events{})
//
// [Config] is everything that decides a run, and its zero values are the
// defaults; the command line is another face of the same struct. [Finetune]
// leaves a run folder with the exported classifier, metrics of every class and
// what it takes to reproduce the run (docs/cli.md lists the files). [Sweep]
// trains and compares a grid of heads on one set of features. [Encode] only
// fills the feature store, [Evaluate] measures a finished run on other images,
// [Inspect] says what would be used of a model, [Measure] turns logits into
// metrics.
//
// Package classify uses a finished run, or its model.onnx, from any number of
// goroutines; [Export] writes that file for others, smaller if asked, after
// checking it against the run:
//
//	c, err := classify.Open("run", classify.Options{})
//	p, err := c.ClassifyBytes(ctx, photo) // p.Label, p.Confidence, p.Top(5)
//
// The package reports through [Events] and never logs. [KindOf] tells a wrong
// setting from bad data, an unusable runtime and an interruption.
//
// # Caveats
//
// The runtime library is loaded once per process. A run keeps the features of
// its sets in memory, 4·D bytes an image. The same configuration and images
// give the same bits on one machine with one library; another processor, number
// of threads or provider rounds differently. A folder that a run is writing to is
// locked, and refused to others, where the file system knows locks.
package engine

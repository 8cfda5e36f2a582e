// Package engine has the tasks: fine-tune a vision transformer for long-tailed image classification, encode, embed,
// evaluate, export, sweep, pull.
//
// # Basics
//
//	result, err := engine.Finetune(ctx, engine.FinetuneOptions{
//		Backbone: backbone.Options{Name: "vit_b16.onnx"},
//		Data:     dataset.Sources{Train: "photos/train", Test: "photos/test"},
//		Out:      "run",
//	}, event.Events{})
//
// Each task has Options of its own, whose zero values are the defaults, and a Result; the command line is another face
// of the same. [Finetune] leaves a run folder with the exported classifier, metrics of every class and what it takes to
// reproduce the run (docs/cli.md lists the files). [Sweep] trains and compares a grid of heads on one set of features.
// [Encode] only fills the feature store, [Embed] also writes a file of it, on which [Finetune] and [Sweep] train as on
// the images. [Evaluate] measures a finished run on other images, [Export] writes its classifier for others, smaller if
// asked, after checking it against the run. [Pull] fetches backbones.
//
// The rest has rooms of its own: a program that only classifies imports classify, one that looks at a model
// backbone.Inspect, at the machine device.Diagnose, at a run folder run.Open, and report.Save writes report.html anew.
//
// Tasks report through event.Events and never log. fault.Of tells a wrong setting from bad data, an unusable runtime
// and an interruption.
//
// # Caveats
//
// The runtime library is loaded once per process. A run keeps the features of its sets in memory, 4·D bytes an image.
// The same options and images give the same bits on one machine with one library; another processor, number of threads
// or provider rounds differently. A folder that a run is writing to is locked, and refused to others, where the file
// system knows locks.
package engine

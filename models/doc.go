/*
Package models knows backbones by name: where each comes from, under which licence, what images it takes and what
features it gives. One of them, the default, is embedded in the binary; a [Hub] brings the others from the Hugging Face
hub.

# Basics

[List] and [Lookup] go by name, [Recognize] by content: a file whose SHA-256 is that of a registered backbone is that
backbone, whatever it is called and wherever it lies. [Backbone.Bytes] is the ONNX file of an embedded backbone.

	var hub models.Hub                      // heeds HF_HOME, HF_TOKEN, HF_ENDPOINT, …
	p, err := hub.Pull(ctx, "dinov2-small") // or "OWNER/REPOSITORY:FILE@REVISION"
	p, err = hub.Find("dinov2-small")       // later, asking nobody
	fmt.Println(p.Path)                     // the ONNX file

[Hub.Pull] fetches the ONNX file, the external data beside it and the repository's preprocessor_config.json into the
hub's own cache, in its layout, so that a file is there once for all programs. What is loaded when a pull ends early is
kept, and the next one goes on from there. Every file is checked against the digest that the hub gives for it, and that
digest is pinned: a file that changes later is refused until it is asked for.

A backbone's preprocessing is kept as JSON text in the form of the metadata "vitft.preprocess", because this package
imports nothing of the rest of the project; package vit parses it.

# Caveats

The repositories, file names and preprocessing in the registry were looked up, but none of the files was fetched where
this was written, as [Backbone].Verified says. Their SHA-256 is therefore empty: a first pull trusts the hub, and by
path alone they are recognised without proof.

A pin is by repository and revision. Another name for the same file, such as a commit in place of main, is pinned anew.

The embedded default learned from clothes and a few thousand photos of 28×28 pixels: it is there so that everything runs
at once, not to be accurate on photos. MODEL_CARD.md has its data, cost and accuracy.
*/
package models

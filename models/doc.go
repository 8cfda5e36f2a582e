/*
Package models knows backbones by name: where each comes from, under which
licence, what images it takes and what features it gives. One of them, the
default, is embedded in the binary.

# Basics

[List] and [Lookup] go by name, [Recognize] by content: a file whose SHA-256 is
that of a registered backbone is that backbone, whatever it is called and
wherever it lies. [Backbone.Bytes] is the ONNX file of an embedded backbone.

A backbone's preprocessing is kept as JSON text in the form of the metadata
"vitft.preprocess", because this package imports nothing of the rest of the
project; package vit parses it.

# Caveats

Only embedded backbones can be opened here. The others are published on the
Hugging Face hub; their repositories, file names and preprocessing were looked
up, but none of their files was fetched here, as [Backbone].Verified says.
Their SHA-256 is therefore empty, and they are recognised by path only, which
proves nothing.

The embedded default learned from clothes and a few thousand photos of 28×28
pixels: it is there so that everything runs at once, not to be accurate on
photos. MODEL_CARD.md has its data, cost and accuracy.
*/
package models

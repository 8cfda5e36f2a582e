// Package adapt measures a training step inside a backbone:
//
//	python3 -m venv /tmp/torch && /tmp/torch/bin/pip install torch onnx    (2.5 GB, outside of this tree)
//	go test ./bench/adapt -run '^$' -bench Torch -benchtime 8x -timeout 1h -args -python /tmp/torch/bin/python
//	go test ./bench/adapt -run '^$' -bench Memory -benchtime 1x -args -memory full -blocks all
//
// The first compares it with PyTorch, eager and compiled: the same blocks of the same ViT-Tiny with the same adapters,
// on as many threads, in turns in one run, because machines are shared and their speed changes. It fails if the
// gradients differ. The second says how much memory training inside a ViT-B/16 takes.
package adapt

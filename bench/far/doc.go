// Package far measures the training of a head on features that are read from the disk, against one that has them in
// memory:
//
//	go test ./bench/far -run '^$' -bench . -benchtime 1x -timeout 0 -args -rows 1000000 -dim 768 -dir /big/disk
//	go test ./bench/far -run '^$' -bench . -benchtime 1x -timeout 0 -args … -where memory
//
// Features of a long tail of classes are drawn and written as blocks of a store in DIR, unless they are there; then a
// store is opened as finetune opens it, its blocks are verified, the features laid out (or gathered) in the order of
// learning and a head trained by the default recipe for some epochs. Each step reports its time, the processor time in
// it, and the most memory that the process had until its end. docs/memory.md has what came out.
package far

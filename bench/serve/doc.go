// Package serve measures `vitft serve` under load, against bare session runs of the same model on the same machine:
//
//	go test ./bench/serve -run '^$' -bench . -args -run /path/of/RUN
//
// RUN is a finished run; its predictions.csv says which photos to send and which labels to expect. Many clients ask for
// some minutes, in rounds; before, between and after them, while the clients hold still, bare runs of ready batches are
// timed, because machines are shared and their speed changes. Two reloads (SIGHUP) are on the way and SIGTERM is at the
// end. It fails if an answer is missing or other than the run's.
//
// Memory and speed of 1, 2 and 8 models of one backbone:
//
//	go test ./bench/serve -run '^$' -bench ManyModels -args -many 20s
package serve

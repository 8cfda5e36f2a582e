package onnx

/*
#include <signal.h>

#define VITFT_SIGNALS 65

static struct sigaction vitft_saved[VITFT_SIGNALS];
static int vitft_known[VITFT_SIGNALS];

static void vitft_save_signals(void) {
	for (int s = 1; s < VITFT_SIGNALS; s++)
		vitft_known[s] = sigaction(s, NULL, &vitft_saved[s]) == 0;
}

static void vitft_restore_signals(void) {
	for (int s = 1; s < VITFT_SIGNALS; s++)
		if (vitft_known[s]) sigaction(s, &vitft_saved[s], NULL);
}
*/
import "C"

import "sync"

var signals sync.Mutex

// keepSignals runs f and then puts the process's signal handlers back to what they were. The CUDA provider replaces
// Go's by ones without SA_ONSTACK, and the next Ctrl-C would be a fatal error
// (https://github.com/yalue/onnxruntime_go/issues/140).
func keepSignals(f func() error) error {
	signals.Lock()
	defer signals.Unlock()
	C.vitft_save_signals()
	defer C.vitft_restore_signals()
	return f()
}

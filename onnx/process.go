package onnx

/*
#include <signal.h>
#include <stdlib.h>
#ifdef __GLIBC__
#include <malloc.h>
static void vitft_trim(void) { malloc_trim(0); }
#else
static void vitft_trim(void) {}
#endif

#define VITFT_SIGNALS 65

static struct sigaction vitft_saved[VITFT_SIGNALS];
static int vitft_known[VITFT_SIGNALS];

// A handler that Go would die of.
static int vitft_bad(const struct sigaction *a) {
	return a->sa_handler != SIG_DFL && a->sa_handler != SIG_IGN && !(a->sa_flags & SA_ONSTACK);
}

// What is bad already is not saved: another session's start may be what put it there.
static void vitft_save_signals(void) {
	for (int s = 1; s < VITFT_SIGNALS; s++) {
		struct sigaction now;
		if (sigaction(s, NULL, &now) != 0 || vitft_bad(&now)) continue;
		vitft_saved[s] = now;
		vitft_known[s] = 1;
	}
}

static void vitft_restore_signals(int bad_only) {
	for (int s = 1; s < VITFT_SIGNALS; s++) {
		struct sigaction now;
		if (!vitft_known[s] || (bad_only && (sigaction(s, NULL, &now) != 0 || !vitft_bad(&now)))) continue;
		sigaction(s, &vitft_saved[s], NULL);
	}
}
*/
import "C"

import "sync"

// The CUDA provider replaces Go's signal handlers by ones without SA_ONSTACK, when it starts and perhaps when it first
// runs a batch of some size; the next Ctrl-C would then be a fatal error
// (https://github.com/yalue/onnxruntime_go/issues/140). So handlers are put back after a session is made, which for
// models of images includes a first run, after every run, and after a session is closed.

var signals sync.Mutex

// keepSignals runs f and then puts all signal handlers back to what they were.
func keepSignals(f func() error) error {
	signals.Lock()
	defer signals.Unlock()
	C.vitft_save_signals()
	defer C.vitft_restore_signals(0)
	return f()
}

// repairSignals puts back the handlers that Go would die of. What the program itself has changed since is left alone.
// While keepSignals is at work, which can be for seconds, it does nothing: that repairs them all in the end.
func repairSignals() {
	if signals.TryLock() {
		defer signals.Unlock()
		C.vitft_restore_signals(1)
	}
}

// trim gives back to the system what C has freed. glibc keeps it: a service that reloads its model grew from 240 to 510
// MB in eleven reloads of a ViT-Tiny.
func trim() { C.vitft_trim() }

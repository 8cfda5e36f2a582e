package onnx

/*
#include <stdlib.h>
#ifdef __GLIBC__
#include <malloc.h>
static void vitft_trim(void) { malloc_trim(0); }
#else
static void vitft_trim(void) {}
#endif
*/
import "C"

// trim gives back to the system what C has freed. glibc keeps it: a service that reloads its model grew from 240 to 510
// MB in eleven reloads of a ViT-Tiny.
func trim() { C.vitft_trim() }

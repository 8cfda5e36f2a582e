// Command vitft fine-tunes pretrained vision transformers for long-tailed image classification. Each command has
// a file; root, settings and progress are what they share; package engine does the work.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/vitft/vitft/internal/machine"
)

func main() {
	machine.MakeDo()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	code := execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

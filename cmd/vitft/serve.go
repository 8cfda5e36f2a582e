package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/run"
	"github.com/vitft/vitft/engine/serve"
	"github.com/vitft/vitft/internal/par"
)

func (a *app) serveCommand() *cobra.Command {
	o := serve.Options{Version: run.Version()}
	cmd := &cobra.Command{
		Use:   "serve --model [NAME=]RUN-or-model.onnx --addr HOST:PORT",
		Short: "Answer over HTTP and gRPC what is on images",
		Long: `serve answers POST /v1/classify, the inference protocols of KServe (V1, V2) and Triton over HTTP and, on the same
port, gRPC, and a page to drop photos on; /openapi.json describes every route. SIGHUP loads the models anew, SIGTERM and Ctrl-C end it once everything
that was accepted is answered.`,
		Example: `  vitft serve --model run --addr localhost:8080
  curl --data-binary @photo.jpg localhost:8080/v1/classify`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.serve(cmd, o) },
	}
	a.declare(cmd, o.Fields()...)
	return cmd
}

func (a *app) serve(cmd *cobra.Command, o serve.Options) error {
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP) // from now on it ends nothing
	defer signal.Stop(reload)
	o.Events = event.Events{Note: a.note}
	l, err := o.Listen()
	if err != nil {
		return err
	}
	defer l.Close()
	s, err := par.Await(cmd.Context(), func() (*serve.Server, error) { return serve.New(o) }, nil)
	if err != nil {
		return err
	}
	a.log.Info().Str("url", url(l.Addr(), o.Cert != "")).Msg("listening")
	ctx, stop := context.WithCancel(cmd.Context())
	reloading := make(chan struct{})
	go func() {
		defer close(reloading)
		for {
			select {
			case <-reload:
				if err := s.Reload(); err != nil {
					a.log.Error().Err(err).Msg("reload")
				} else {
					a.log.Info().Msg("reloaded")
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	err = s.Serve(ctx, l)
	stop()
	select {
	case <-reloading:
	case <-time.After(time.Second): // its files may take for ever
	}
	if err = cmp.Or(err, s.Close()); err == nil {
		a.log.Info().Msg("stopped; everything accepted was answered")
	}
	return err
}

// url is where a browser finds what listens on an address.
func url(addr net.Addr, tls bool) string {
	scheme, host := "http", addr.String()
	if tls {
		scheme = "https"
	}
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		host = fmt.Sprintf("localhost:%d", tcp.Port)
	}
	return scheme + "://" + host
}

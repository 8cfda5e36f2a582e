package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/serve"
)

func (a *app) serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve --model [NAME=]RUN-or-model.onnx --addr HOST:PORT",
		Short: "Answer over HTTP what is on images",
		Long: "serve answers POST /v1/classify, the Open Inference Protocol v2 (KServe, Triton clients) and a page to drop photos\n" +
			"on; /openapi.json describes every route. SIGHUP loads the models anew, SIGTERM and Ctrl-C end it once everything\n" +
			"that was accepted is answered.",
		Example: "  vitft serve --model run --addr localhost:8080\n  curl --data-binary @photo.jpg localhost:8080/v1/classify",
		Args:    cobra.NoArgs,
		RunE:    a.serve,
	}
	f := cmd.Flags()
	f.StringArray("model", nil, "run folder or model.onnx, with a NAME= before it if the URL's is to be another; again for further models, the first is the default")
	f.String("addr", "localhost:8080", "address to listen on; :8080 for every network")
	classifierFlags(f)
	f.Duration("delay", 2*time.Millisecond, "how long an image waits at most for others that are being prepared")
	f.Int("queue", 128, "images accepted and not yet answered, at most; others get 429")
	f.Int64("max-body", 32<<20, "bytes of a request's body, at most")
	f.Int("max-images", 64, "images of a request, at most")
	f.Int("max-pixels", 50e6, "pixels of an image, at most")
	f.Duration("timeout", time.Minute, "time to receive a request, and again to answer it")
	f.Duration("drain", time.Second, "how long to go on accepting once /readyz says that the end is near")
	f.String("token", "", "what clients must show as Authorization: Bearer TOKEN; better given as VITFT_TOKEN or --token-file")
	f.String("token-file", "", "file with the token")
	f.String("tls-cert", "", "certificate chain, PEM: serve HTTPS")
	f.String("tls-key", "", "key of the certificate, PEM")
	f.Bool("log-requests", false, "log every request")
	return cmd
}

func (a *app) serve(cmd *cobra.Command, _ []string) error {
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP) // from now on it ends nothing
	defer signal.Stop(reload)
	o, err := a.serveOptions()
	if err != nil {
		return err
	}
	l, err := o.Listen()
	if err != nil {
		return err
	}
	defer l.Close()
	s, err := serve.New(o)
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
	<-reloading
	if closeErr := s.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		a.log.Info().Msg("stopped; everything accepted was answered")
	}
	return err
}

func (a *app) serveOptions() (serve.Options, error) {
	v := a.settings
	c, err := a.config()
	if err != nil {
		return serve.Options{}, err
	}
	return serve.Options{
		Models: modelPaths(v.Get("model")),
		Classifier: classify.Options{
			Device:   device.Options{Provider: c.Provider, Threads: c.Threads, Library: c.Library},
			MaxBatch: c.Batch, MaxDelay: new(v.GetDuration("delay")), MaxPixels: v.GetInt("max-pixels"),
		},
		Addr: v.GetString("addr"), Queue: v.GetInt("queue"), MaxBody: v.GetInt64("max-body"),
		MaxImages: v.GetInt("max-images"), Timeout: v.GetDuration("timeout"), Drain: new(v.GetDuration("drain")),
		Token: v.GetString("token"), TokenFile: v.GetString("token-file"),
		Cert: v.GetString("tls-cert"), Key: v.GetString("tls-key"),
		Version: engine.Version(), LogRequests: v.GetBool("log-requests"), Events: event.Events{Note: a.note},
	}, nil
}

// modelPaths are the models of repeated flags, a list in a file, or one in
// either or the environment.
func modelPaths(value any) (paths []string) {
	switch value := value.(type) {
	case string:
		if value != "" {
			paths = append(paths, value)
		}
	case []string:
		paths = value
	case []any:
		for _, v := range value {
			paths = append(paths, fmt.Sprint(v))
		}
	}
	return paths
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

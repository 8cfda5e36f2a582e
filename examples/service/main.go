// Command service answers over HTTP what is on an image, with a classifier of vitft inside it:
//
//	go run . -model run        # a run folder, or a model.onnx that finetune or export wrote
//	curl --data-binary @photo.jpg localhost:8080
//	{"label":"daisy","confidence":0.97,"top":[{"label":"daisy","confidence":0.97}, …]}
//
// It is the least there is to it; `vitft serve` has several models, metrics, limits on load and reloading. To have the
// model inside the program too, put it beside this file and use
//
//	//go:embed model.onnx
//	var model []byte
//
// with classify.New(model, options).
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/vit"
)

func main() {
	model := flag.String("model", "run", "run folder or model.onnx")
	addr := flag.String("addr", "localhost:8080", "address to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, *model, *addr); err != nil {
		log.Fatal(err)
	}
}

func serve(ctx context.Context, model, addr string) error {
	c, err := classify.Open(model, classify.Options{MaxPixels: 50e6})
	if err != nil {
		return err
	}
	defer c.Close()
	server := &http.Server{Addr: addr, Handler: handler(c), ReadTimeout: 30 * time.Second}
	answered := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(answered)
		server.Shutdown(context.Background()) // waits for the requests in progress
	})
	log.Printf("%s knows %d classes and listens on %s", c.Info().Name, c.Info().Classes, addr)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-answered
	return nil
}

// handler classifies the images in request bodies. Requests at the same time share runs of the model.
func handler(c *classify.Classifier) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		image, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 20<<20))
		if err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		p, err := c.ClassifyBytes(r.Context(), image) // gives up when the client does
		if _, bad := errors.AsType[*vit.ImageError](err); bad {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			return
		} else if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{"label": p.Label, "confidence": p.Confidence, "top": p.Top(5)})
	})
}

package serve_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/vitft/vitft/engine/serve"
	"github.com/vitft/vitft/internal/testkit/trained"
)

// The server as a part of another one. A program of its own calls Options.Listen and Server.Serve instead.
func ExampleNew() {
	dir, err := os.MkdirTemp("", "vitft-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	run, err := trained.Run(dir, "upright", "slanted") // or vitft finetune --out run
	if err != nil {
		log.Fatal(err)
	}
	s, err := serve.New(serve.Options{Models: []string{"stripes=" + run}})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	server := httptest.NewServer(s.Handler())
	defer server.Close()
	answer, err := http.Get(server.URL + "/v2/models/stripes/ready")
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(string(text))
	// Output: {"name":"stripes","ready":true}
}

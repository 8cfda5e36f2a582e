//go:build slim

package main

import (
	"context"
	neturl "net/url"

	"github.com/spf13/cobra"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/engine/setting"
)

// errSlim is what whoever names an object store or a queue is told.
var errSlim = fault.Config.Errorf("this vitft is built with the tag slim, which leaves out object stores and queues: " +
	"use one built without that tag, such as of 'go install github.com/vitft/vitft/cmd/vitft@latest'")

func init() {
	bucket.Register(func(context.Context, string, string, string) (bucket.Closing, error) { return nil, errSlim })
	place.Register(func(string, neturl.Values, string) (place.Store, error) { return nil, errSlim },
		"s3", "gs", "azblob")
}

const queueToken = "VITFT_QUEUE_TOKEN"

// queue is what a build with queues knows of them.
type queue struct{ url string }

func (q *queue) fields() []setting.Field {
	return setting.In("queue", setting.Text("queue", &q.url, "", func(string) error { return errSlim },
		"not in this build (tag slim)").Here())
}

func (q *queue) ahead(*app) (ahead feature.Ahead, done func()) { return nil, func() {} }

func (a *app) workerCommand() *cobra.Command { return absent("worker") }
func (a *app) statusCommand() *cobra.Command { return absent("status") }

// absent is a command that is not in this build.
func absent(name string) *cobra.Command {
	return &cobra.Command{
		Use:                name,
		Short:              "Not in this build (tag slim)",
		DisableFlagParsing: true,
		RunE:               func(*cobra.Command, []string) error { return errSlim },
	}
}

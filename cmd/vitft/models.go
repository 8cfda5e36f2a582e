package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/models"
)

func (a *app) modelsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "models",
		Short: "Backbones known by name",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.modelsListCommand(), a.modelsPullCommand())
	return cmd
}

func (a *app) modelsListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list [--json]",
		Short: "List the backbones that --backbone takes by name, and which are on this machine",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			list, err := new(models.Hub).List()
			if err != nil {
				return hubError(err)
			}
			if asJSON {
				return a.printJSON(list)
			}
			return a.printModels(list)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

func (a *app) modelsPullCommand() *cobra.Command {
	var o struct{ offline, update, asJSON bool }
	cmd := &cobra.Command{
		Use:   "pull NAME [--json]",
		Short: "Fetch a backbone from the Hugging Face hub",
		Long: "Fetch a backbone from the Hugging Face hub into the hub's own cache, with its external data and preprocessing,\n" +
			"and check it against the hub's digest and that of the first pull. NAME is one that 'vitft models list' shows,\n" +
			"or OWNER/REPOSITORY[:FILE.onnx]; either with @REVISION. What an interrupted pull loaded is kept.\n\n" +
			"HF_TOKEN, HF_ENDPOINT, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE and HTTPS_PROXY mean what they mean to the hub's own client.",
		Example: "  vitft models pull dinov2-small\n  vitft models pull onnx-community/dinov2-small:onnx/model_fp16.onnx@main",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			hub := models.Hub{Offline: o.offline, Update: o.update}
			return a.pull(cmd.Context(), hub, args[0], o.asJSON)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.offline, "offline", false, "ask nobody: check what is here (also HF_HUB_OFFLINE=1)")
	f.BoolVar(&o.update, "update", false, "take a file that changed on the hub since the first pull")
	f.BoolVar(&o.asJSON, "json", false, "print as JSON")
	return cmd
}

func (a *app) pull(ctx context.Context, hub models.Hub, name string, asJSON bool) error {
	events := a.events()
	hub.Progress = func(file string, done, total int64) { events.Progress(pullStage, file, int(done), int(total)) }
	hub.Note = func(text string) { events.Note(engine.Warning, text) }
	p, err := hub.Pull(ctx, name)
	a.bars.pause()
	if err != nil {
		return hubError(err)
	}
	if asJSON {
		return a.printJSON(p)
	}
	if p.Embedded {
		return a.printf("%s is part of this program; there is nothing to pull\n", p.Name)
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, f := range p.Files {
		fmt.Fprintf(w, "%s\t%s\t%s\n", f.Path, megabytes(f.Size), f.Digest)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	licence := p.Licence
	if licence == "" {
		licence = "see the repository's page"
	}
	return a.printf("%scommit %s of %s, licence: %s\nuse it with --backbone %s\n", b.String(), p.Commit, p.Repository, licence, name)
}

// hubError gives an error of models.Hub the kind that decides the exit code.
func hubError(err error) error {
	for kind, errs := range map[error][]error{
		errUsage:       {models.ErrUnknown, models.ErrAccess, models.ErrSetting},
		engine.ErrData: {models.ErrNotPulled, models.ErrCorrupt, models.ErrChanged},
	} {
		for _, is := range errs {
			if errors.Is(err, is) {
				return &ofKind{err, kind}
			}
		}
	}
	return err
}

// ofKind is an error that says enough by itself, of a kind.
type ofKind struct {
	error
	kind error
}

func (k *ofKind) Unwrap() []error { return []error{k.error, k.kind} }

func (a *app) printModels(list []models.Pulled) error {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tHERE\tINPUT\tDIM\tLICENCE\tFROM\tWHAT")
	for _, p := range list {
		here, from, input, dim := "-", p.Repository, "-", "-"
		switch {
		case p.Embedded:
			here, from = "embedded", "this program"
		case p.Path != "":
			here = megabytes(p.Size())
		}
		if p.Dim > 0 {
			input, dim = fmt.Sprintf("%d×%d", p.Width, p.Height), fmt.Sprint(p.Dim)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", p.Name, here, input, dim, dash(p.Licence), dash(from), dash(p.Description))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return a.printf("%s", b.String())
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func megabytes(n int64) string {
	if n < 1e5 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

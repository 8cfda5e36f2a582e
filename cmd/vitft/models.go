package main

import (
	"cmp"
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
	var json bool
	cmd := &cobra.Command{
		Use:   "list [--json]",
		Short: "List the backbones that --backbone takes by name, and which are on this machine",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			list, err := new(models.Hub).List()
			switch {
			case err != nil:
				return err
			case json:
				return a.printJSON(list)
			}
			return a.printf("%s", listed(list))
		},
	}
	a.declare(cmd, asJSON(&json))
	return cmd
}

func (a *app) modelsPullCommand() *cobra.Command {
	var o engine.PullOptions
	var json bool
	cmd := &cobra.Command{
		Use:   "pull NAME [--json]",
		Short: "Fetch a backbone from the Hugging Face hub",
		Long: `Fetch a backbone from the Hugging Face hub into the hub's own cache, with its external data and
preprocessing, and check it against the hub's digest and that of the first pull. NAME is one that
'vitft models list' shows, or OWNER/REPOSITORY[:FILE.onnx]; either with @REVISION. What an interrupted pull loaded is kept.

HF_TOKEN, HF_ENDPOINT, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE and HTTPS_PROXY mean what they mean to the
hub's own client.`,
		Example: `  vitft models pull dinov2-small
  vitft models pull onnx-community/dinov2-small:onnx/model_fp16.onnx@main`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Name = args[0]
			pulled, err := engine.Pull(cmd.Context(), o, a.events())
			a.bars.pause()
			switch {
			case err != nil:
				return err
			case json:
				return a.printJSON(pulled)
			}
			return a.printf("%s", pulledText(pulled, o.Name))
		},
	}
	a.declare(cmd, append(o.Fields(), asJSON(&json))...)
	return cmd
}

// pulledText says what was pulled, and how to use it.
func pulledText(p models.Pulled, name string) string {
	if p.Embedded {
		return fmt.Sprintf("%s is part of this program; there is nothing to pull\n", p.Name)
	}
	return columns(func(w *tabwriter.Writer) {
		for _, f := range p.Files {
			fmt.Fprintf(w, "%s\t%s\t%s\n", f.Path, megabytes(f.Size), f.Digest)
		}
	}) + fmt.Sprintf("commit %s of %s, licence: %s\nuse it with --backbone %s\n",
		p.Commit, p.Repository, cmp.Or(p.Licence, "see the repository's page"), name)
}

// listed is the list for readers.
func listed(list []models.Pulled) string {
	return columns(func(w *tabwriter.Writer) {
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
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", p.Name, here, input, dim, cmp.Or(p.Licence, "-"),
				cmp.Or(from, "-"), cmp.Or(p.Description, "-"))
		}
	})
}

// columns sets what write writes, cells ended by tabs, in columns.
func columns(write func(w *tabwriter.Writer)) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	write(w)
	w.Flush() // into memory
	return b.String()
}

func megabytes(n int64) string {
	if n < 1e5 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

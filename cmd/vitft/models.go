package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/vitft/vitft/models"
)

func (a *app) modelsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "models",
		Short: "Backbones known by name",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var asJSON bool
	list := &cobra.Command{
		Use:   "list",
		Short: "List the backbones that --backbone takes by name",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if asJSON {
				return a.printJSON(models.List())
			}
			return a.printModels(models.List())
		},
	}
	list.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	cmd.AddCommand(list)
	return cmd
}

func (a *app) printModels(list []models.Backbone) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tINPUT\tDIM\tLICENCE\tWHERE\tWHAT")
	for _, b := range list {
		where := "embedded"
		if !b.Embedded {
			where = b.Repository
		}
		fmt.Fprintf(w, "%s\t%d×%d\t%d\t%s\t%s\t%s\n", b.Name, b.Width, b.Height, b.Dim, b.Licence, where, b.Description)
	}
	return w.Flush()
}

package main

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/vitft/vitft/engine/backbone"
	"github.com/vitft/vitft/engine/cache"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/engine/setting"
)

func (a *app) cacheCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "What is kept of images, how much room it takes, and making room",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.cacheListCommand(), a.cacheSizeCommand(), a.cachePruneCommand())
	return cmd
}

// cacheOptions are those of every command about the cache.
type cacheOptions struct {
	features feature.Options
	json     bool
}

func (o *cacheOptions) fields() []setting.Field {
	folder, _ := setting.Find(o.features.Fields(), "cache")
	return []setting.Field{folder, asJSON(&o.json)}
}

// folder is the cache folder.
func (o *cacheOptions) folder() (string, error) {
	err := setting.Complete(o.fields())
	return o.features.Cache, err
}

func (a *app) cacheListCommand() *cobra.Command {
	var o cacheOptions
	cmd := &cobra.Command{
		Use:   "list [--cache DIR] [--json]",
		Short: "List what is kept: features by backbone, view and preprocessing, copies, scan index",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.cached(cmd, &o, listedCache) },
	}
	a.declare(cmd, o.fields()...)
	return cmd
}

func (a *app) cacheSizeCommand() *cobra.Command {
	var o cacheOptions
	cmd := &cobra.Command{
		Use:   "size [--cache DIR] [--json]",
		Short: "How much room it takes",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.cached(cmd, &o, func(c *cache.Contents) string {
				return fmt.Sprintf("%s in %s\n", size(c.Bytes), c.Path)
			})
		},
	}
	a.declare(cmd, o.fields()...)
	return cmd
}

// cached prints what is in the cache.
func (a *app) cached(cmd *cobra.Command, o *cacheOptions, text func(*cache.Contents) string) error {
	dir, err := o.folder()
	if err != nil {
		return err
	}
	c, err := cache.List(cmd.Context(), dir)
	switch {
	case err != nil:
		return err
	case o.json:
		return a.printJSON(c)
	}
	return a.printf("%s", text(c))
}

// pruneOptions are those of cache prune.
type pruneOptions struct {
	cacheOptions
	rules           cache.Rules
	olderThan, keep string
}

func (o *pruneOptions) fields() []setting.Field {
	return append(o.cacheOptions.fields(),
		setting.Text("older-than", &o.olderThan, "", func(s string) error { _, err := parseAge(s); return err },
			"remove what was not used for so long, such as 30d or 12h").Here(),
		setting.Text("backbone", &o.rules.Backbone, "", nil,
			"remove features of this backbone only: an .onnx file, a name, or how its SHA-256 begins").Here(),
		setting.Text("keep", &o.keep, "", func(s string) error { _, err := setting.ParseBytes(s); return err },
			"remove what was used longest ago until so much is left, such as 20GB").Here(),
		setting.Flag("all", &o.rules.All, "remove everything that is not in use").Here(),
		setting.Flag("dry-run", &o.rules.DryRun, "say what would go; remove nothing").Here(),
	)
}

func (a *app) cachePruneCommand() *cobra.Command {
	var o pruneOptions
	cmd := &cobra.Command{
		Use:   "prune [--older-than 30d] [--backbone B] [--keep 20GB] [--all] [--dry-run]",
		Short: "Remove what was not used lately, of one backbone, or everything",
		Long: `prune removes what is kept, and names it. What a running command uses stays (in an object store:
what was used within a day), and so does everything in the folder that vitft did not make. What a later
run needs is made anew. Without a rule only what is of no use goes: damaged blocks that were set aside,
and what killed processes have left half written.`,
		Example: `  vitft cache prune --older-than 30d --dry-run
  vitft cache prune --backbone vit_b16.onnx
  vitft cache prune --keep 20GB
  vitft cache prune --cache s3://team/vitft --older-than 90d`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("backbone") { // one of other commands' settings is no rule
				o.rules.Backbone = ""
			}
			return a.prune(cmd, &o)
		},
	}
	a.declare(cmd, o.fields()...)
	return cmd
}

var sumPattern = regexp.MustCompile(`^[0-9a-f]{6,64}…?$`)

func (a *app) prune(cmd *cobra.Command, o *pruneOptions) error {
	dir, err := o.folder()
	if err != nil {
		return err
	}
	r := o.rules
	if o.olderThan != "" {
		r.OlderThan, _ = parseAge(o.olderThan) // which has been checked
	}
	if o.keep != "" {
		keep, _ := setting.ParseBytes(o.keep)
		r.Keep = &keep
	}
	if r.Backbone != "" && !sumPattern.MatchString(r.Backbone) {
		if r.Backbone, err = backbone.Sum(r.Backbone); err != nil {
			return err
		}
	}
	r.Backbone = strings.TrimSuffix(r.Backbone, "…")
	p, err := cache.Prune(cmd.Context(), dir, r)
	if p != nil && o.json {
		if fault := a.printJSON(p); fault != nil {
			return fault
		}
	} else if p != nil {
		if fault := a.printf("%s", pruned(p)); fault != nil {
			return fault
		}
	}
	return err
}

// pruned is what went, for readers.
func pruned(p *cache.Pruned) string {
	var b strings.Builder
	did, would := "removed", "freed"
	if p.DryRun {
		did, would = "would remove", "would be freed; nothing was removed"
	}
	for _, x := range p.Removed {
		fmt.Fprintf(&b, "%s %s: %s, %s\n  %s\n", did, x.What, size(x.Bytes), x.Why, x.Path)
	}
	for _, x := range p.Kept {
		fmt.Fprintf(&b, "kept %s: %s\n  %s\n", x.What, x.Why, x.Path)
	}
	fmt.Fprintf(&b, "%s %s in %s\n", size(p.Freed), would, p.Path)
	return b.String()
}

// listedCache is what is in the cache, for readers.
func listedCache(c *cache.Contents) string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "store\tfeatures\tsize\tlast used\tbackbone, feature, view, preprocessing")
	for _, s := range c.Stores {
		used := s.Used.Local().Format("2006-01-02 15:04")
		if s.InUse && !place.IsURL(c.Path) { // where nobody can tell
			used = "now"
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\n", s.Folder, s.Features, size(s.Bytes), used, s.Describe())
	}
	for _, of := range []struct {
		name, what string
		files      cache.Files
	}{
		{feature.CopiesFolder, "copies of images that a report or a check has asked for", c.Copies},
		{feature.ScanFolder, "scan index: which bytes image files had", c.Scan},
		{feature.ExportedFolder, "which model.onnx were made here", c.Exported},
	} {
		if of.files.Files > 0 {
			fmt.Fprintf(t, "%s\t%d files\t%s\t%s\t%s\n", of.name, of.files.Files, size(of.files.Bytes),
				of.files.Used.Local().Format("2006-01-02 15:04"), of.what)
		}
	}
	for _, j := range c.Jobs {
		used := j.Used.Local().Format("2006-01-02 15:04")
		if j.InUse && !place.IsURL(c.Path) {
			used = "now"
		}
		fmt.Fprintf(t, "%s\tjob\t%s\t%s\t%d of %d tasks done\n", j.Hash, size(j.Bytes), used, j.Done, j.Tasks)
	}
	_ = t.Flush() // to memory
	for _, o := range c.Other {
		fmt.Fprintf(&b, "left alone: %s, %s: %s\n", o.Path, size(o.Bytes), cmp.Or(o.What, "not of vitft"))
	}
	fmt.Fprintf(&b, "%s in %s\n", size(c.Bytes), c.Path)
	return b.String()
}

// size is a number of bytes for readers.
func size(n int64) string {
	switch {
	case n < 1e6:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	case n < 1e9:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.2f GB", float64(n)/1e9)
}

// parseAge reads 30d, 2w, or what Go calls a duration.
func parseAge(text string) (time.Duration, error) {
	for unit, hours := range map[string]float64{"d": 24, "w": 7 * 24} {
		number, is := strings.CutSuffix(text, unit)
		if n, err := strconv.ParseFloat(number, 64); is && err == nil && n > 0 && n < 1e5 {
			return time.Duration(n * hours * float64(time.Hour)), nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, fault.Config.Errorf("%q is no time that can have passed; write 30d, 2w or 12h", text)
	}
	return d, nil
}

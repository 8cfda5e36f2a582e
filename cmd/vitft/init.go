package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vitft/vitft/engine"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/internal/atomicfile"
)

func (a *app) initCommand() *cobra.Command {
	var o engine.FinetuneOptions
	cmd := &cobra.Command{
		Use:   "init [FILE.yaml] [--train IMAGES] [any flag of finetune]",
		Short: "Write a commented file of all settings for finetune --config",
		Long: `init writes a YAML file (config.yaml by default) with every setting of finetune, what it means and its
default. Those that are given as flags stand in it as they are, the others behind a #. Without --train it looks for
images in train, photos/train and data/train, and beside them for a test and a val or validation folder.`,
		Example: `  vitft init --train photos/train --test photos/test
  vitft finetune --config config.yaml`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "config.yaml"
			if len(args) > 0 {
				path = args[0]
			}
			if path == "-" {
				return fault.Config.Errorf("init writes a file; name one")
			}
			if err := setting.Local(path); err != nil {
				return err
			}
			guessed := guess(&o)
			err := atomicfile.Create(path, func(w io.Writer) error {
				_, err := io.WriteString(w, configText(o.Fields(), path))
				return err
			})
			if errors.Is(err, fs.ErrExist) {
				return fault.Config.Errorf("%s is there already; name another file", path)
			}
			if err != nil {
				return err
			}
			_, _ = atomicfile.Clean(filepath.Dir(path)) // what a killed one has left
			if !guessed {
				a.log.Warn().Str("train", o.Data.Train).Msg("there are no images yet where the file says; put yours " +
					"there, or name them in it")
			}
			return a.printf("%s: edit it, then vitft finetune --config %s\n", path, quoted(path))
		},
	}
	a.declare(cmd, o.Fields()...)
	return cmd
}

// guess names images that are there as people lay them out, where no others are named; false if there are none.
func guess(o *engine.FinetuneOptions) bool {
	isFolder := func(path string) bool {
		info, err := os.Stat(path)
		return err == nil && info.IsDir()
	}
	if o.Data.Train != "" {
		return o.Data.Exist() == nil
	}
	for _, root := range []string{"", "photos/", "data/"} {
		if !isFolder(root + "train") {
			continue
		}
		o.Data.Train = root + "train"
		for _, part := range []struct {
			to    *string
			names []string
		}{{&o.Data.Test, []string{"test"}}, {&o.Data.Val, []string{"val", "valid", "validation"}}} {
			for _, name := range part.names {
				if *part.to == "" && isFolder(root+name) {
					*part.to = root + name
				}
			}
		}
		return true
	}
	o.Data.Train = "photos/train"
	return false
}

// first are the keys of what most people set.
var first = []string{"train", "val", "test", "backbone", "out", "loss", "epochs", "adapt", "calibration", "seed"}

// configText is a YAML file of fields, what most people set first and the rest room by room: each with its help, those
// that are set as they are, the others with their default behind a #.
func configText(fields []setting.Field, path string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Settings of vitft finetune: vitft finetune --config %s\n# A line behind a # says the default. "+
		"A flag wins over this file.\n", path)
	rooms, of := []string{"what most people set"}, map[string][]setting.Field{}
	for _, key := range first {
		if f, ok := setting.Find(fields, key); ok {
			of[rooms[0]] = append(of[rooms[0]], f)
		}
	}
	for _, f := range fields {
		if slices.Contains(first, f.Key) || f.Type == "bool" && f.Local { // those belong to one call
			continue
		}
		if of[f.Room] == nil {
			rooms = append(rooms, f.Room)
		}
		of[f.Room] = append(of[f.Room], f)
	}
	for _, room := range rooms {
		fmt.Fprintf(&b, "\n# === %s ===\n", room)
		for _, f := range of[room] {
			help := usage(f)
			if f.Takes != "" {
				help += "; " + f.Takes
			}
			fmt.Fprintf(&b, "\n# %s\n", strings.ReplaceAll(wrap(help, helpWidth-2), "\n", "\n# "))
			switch {
			case f.IsSet():
				fmt.Fprintf(&b, "%s: %s\n", f.Key, inYAML(f.Text()))
			case f.Default == "":
				zero := map[string]string{"bool": " false", "int": " 0", "uint": " 0", "float": " 0"}
				fmt.Fprintf(&b, "#%s:%s\n", f.Key, zero[f.Type])
			case filepath.IsAbs(f.Default): // a folder of this machine
				fmt.Fprintf(&b, "#%s:\n", f.Key)
			default:
				fmt.Fprintf(&b, "#%s: %s\n", f.Key, inYAML(f.Default))
			}
		}
	}
	return b.String()
}

// inYAML is a text as YAML takes it: in quotes where it would be read as something else.
func inYAML(text string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._+:,=-"
	if strings.Trim(text, plain) == "" && text != "" && !strings.ContainsAny(text[:1], "-:,=") &&
		!strings.HasSuffix(text, ":") {
		return text
	}
	quoted, _ := json.Marshal(text) // of a string, which does not fail
	return string(quoted)
}

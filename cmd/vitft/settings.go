package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"github.com/vitft/vitft/engine/artifact"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/internal/par"
	"github.com/vitft/vitft/internal/userfile"
	"github.com/vitft/vitft/internal/yamlmap"
)

// newSettings reads VITFT_… from the environment.
func newSettings() *viper.Viper {
	v := viper.New()
	v.SetEnvPrefix("VITFT")
	v.SetEnvKeyReplacer(strings.NewReplacer("-", "_"))
	v.AutomaticEnv()
	return v
}

// declare makes a flag of each field, and lets the environment and --config set it too.
func (a *app) declare(cmd *cobra.Command, fields ...setting.Field) {
	a.fields[cmd] = append(a.fields[cmd], fields...)
	flags := cmd.Flags()
	if !cmd.HasParent() && cmd.Name() == "vitft" {
		flags = cmd.PersistentFlags()
	}
	for _, f := range fields {
		flag := flags.VarPF(value{f}, f.Key, "", usage(f))
		flag.DefValue, flag.NoOptDefVal = f.Default, f.Bare
	}
}

// usage is the line of a field in a command's help.
func usage(f setting.Field) string {
	if f.Values == nil {
		return f.Help
	}
	return f.Help + ": " + strings.Join(f.Values, ", ")
}

// value is a field as a flag.
type value struct{ field setting.Field }

func (v value) Set(text string) error { return v.field.Set(text) }
func (v value) String() string        { return "" } // the default, which declare sets
func (v value) Type() string          { return v.field.Type }

// keys lists the keys of all commands, in the order of their declaration.
func (a *app) keys(cmd *cobra.Command) []string {
	keys := setting.Keys(a.fields[cmd])
	for _, sub := range cmd.Commands() {
		for _, key := range a.keys(sub) {
			if !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// readSettings reads a file that a person writes, or the pipe in its place that a program writes to, and says how it is
// called. One that belongs to a finished folder must be what was written there.
func readSettings(ctx context.Context, file string) (text []byte, path string, err error) {
	if path, err = place.Named(file); err != nil {
		return nil, "", err
	}
	read := userfile.ReadAny
	if place.IsURL(path) {
		read = place.Read
	}
	text, err = par.Await(ctx, func() ([]byte, error) { return read(path, userfile.Small) }, nil)
	switch {
	case ctx.Err() != nil:
		err = fmt.Errorf("interrupted while %s was read; the same command goes on: %w", path, ctx.Err())
	case errors.Is(err, fs.ErrNotExist):
		err = fault.Config.Errorf("no file %s", path)
	case err != nil && !errors.Is(err, place.ErrUnanswered):
		err = fault.Config.Errorf("%w", err)
	case err == nil:
		err = artifact.CheckFile(path, text)
	}
	return text, path, err
}

// readFile adds the settings in a YAML file, of this command or another; what is none is refused.
func (a *app) readFile(ctx context.Context, root *cobra.Command, file string) error {
	text, path, err := readSettings(ctx, file)
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	entries, err := yamlmap.Read(text)
	if err != nil {
		return fault.Config.Errorf("%s: %w", path, err)
	}
	known, values := a.keys(root), map[string]any{}
	for _, e := range entries {
		a.from[e.Key] = fmt.Sprintf("%s, line %d", path, e.Line)
		if !slices.Contains(known, e.Key) {
			cure := "vitft init writes a file of all keys of finetune"
			if setting.Meant(e.Key, known) != nil {
				cure = setting.Known(e.Key, known)
			}
			return fault.Config.Errorf("%s: unknown key %q; %s", a.from[e.Key], e.Key, cure)
		}
		if values[e.Key], err = yamlmap.Value(e.Value); err != nil {
			return fault.Config.Errorf("%s: %s: %w", a.from[e.Key], e.Key, err)
		}
	}
	return a.settings.MergeConfigMap(values)
}

// take sets the command's fields that no flag has set from the environment, else from the file.
func (a *app) take(cmd *cobra.Command) error {
	var faults []error
	for _, f := range a.fields[cmd] {
		if flag := cmd.Flag(f.Key); flag.Changed || !a.settings.IsSet(f.Key) {
			continue
		}
		if err := f.Set(a.settings.Get(f.Key)); err != nil {
			from := a.from[f.Key]
			if name := variable(f.Key); os.Getenv(name) != "" {
				from = "environment variable " + name
			}
			faults = append(faults, fmt.Errorf("%s: %w", from, err))
		}
	}
	return errors.Join(faults...)
}

// zeros are the keys of a command's settings that somebody has set to their zero value.
func (a *app) zeros(cmd *cobra.Command) []string {
	var keys []string
	for _, f := range a.fields[cmd] {
		if !f.IsSet() && (cmd.Flag(f.Key).Changed || a.settings.IsSet(f.Key)) {
			keys = append(keys, f.Key)
		}
	}
	return keys
}

// variable is the environment variable of a key.
func variable(key string) string {
	return "VITFT_" + strings.ToUpper(strings.ReplaceAll(key, "-", "_"))
}

// noArgs refuses arguments, and says what is meant by one after a flag that may stand alone.
func noArgs(cmd *cobra.Command, args []string) (err error) {
	if len(args) == 1 {
		cmd.Flags().Visit(func(f *pflag.Flag) {
			if _, number := strconv.Atoi(args[0]); number == nil && f.NoOptDefVal != "" && f.Value.Type() != "bool" {
				err = fmt.Errorf("write --%s=%s: its value follows an equals sign", f.Name, args[0])
			}
		})
	}
	if err == nil {
		err = cobra.NoArgs(cmd, args)
	}
	return err
}

// asJSON is the flag of commands that print JSON if asked to.
func asJSON(p *bool) setting.Field { return setting.Flag("json", p, "print as JSON").Here() }

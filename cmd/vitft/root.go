package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"github.com/spf13/viper"
	"golang.org/x/term"

	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/setting"
)

// app is what the commands share: where to write, how to log, and where settings come from.
type app struct {
	stdout, stderr io.Writer
	log            zerolog.Logger
	terminal       bool // stderr is a terminal: progress bars may be drawn
	bars           bars
	options        rootOptions

	settings *viper.Viper                       // environment and file
	from     map[string]string                  // file and line that a key is from
	fields   map[*cobra.Command][]setting.Field // what a command takes
}

// rootOptions are those of every command.
type rootOptions struct {
	Config    string
	LogFormat string
	Quiet     bool
}

func (o *rootOptions) fields() []setting.Field {
	return []setting.Field{
		setting.Text("config", &o.Config, "", nil,
			"YAML file with the same keys as the flags (flag > environment VITFT_… > file > default)").Here(),
		setting.OneOf("log-format", &o.LogFormat, "text", []string{"text", "json"}, "log lines on stderr").Here(),
		setting.Flag("quiet", &o.Quiet, "log only warnings and draw no progress").Here(),
	}
}

func newApp(stdout, stderr io.Writer) (*app, *cobra.Command) {
	a := &app{stdout: stdout, stderr: stderr, settings: newSettings(), log: zerolog.Nop(),
		from: map[string]string{}, fields: map[*cobra.Command][]setting.Field{}}
	return a, a.root()
}

// execute runs one command line and returns its exit code. It never lets a panic's stack trace reach the user.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) (code int) {
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(stderr, "vitft: internal error: %v (please report it with the command line)\n", p)
			code = fault.Other.Consequence().Exit
		}
	}()
	a, root := newApp(stdout, stderr)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	a.bars.pause()
	if err == nil {
		return 0
	}
	code = fault.Of(err).Consequence().Exit
	if a.options.LogFormat == "json" {
		log := zerolog.New(stderr)
		log.Error().Timestamp().Int("exit_code", code).Msg(err.Error())
	} else {
		fmt.Fprintf(stderr, "vitft: %v\n", err)
	}
	return code
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "vitft",
		Short: "Fine-tune a vision transformer on your own long-tailed images",
		Long: `vitft trains a classifier head on the features of a frozen vision transformer (ONNX),
with losses made for imbalanced classes, and writes one ONNX file and a report of every class.

` + exitCodes(),
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.prepare(cmd) },
		Args:              cobra.NoArgs,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	a.declare(root, a.options.fields()...)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fault.Config.Errorf("%w", err) })
	root.AddCommand(
		a.finetuneCommand(), a.encodeCommand(), a.embedCommand(), a.evaluateCommand(), a.predictCommand(),
		a.exportCommand(), a.serveCommand(),
		a.sweepCommand(), a.reportCommand(), a.verifyCommand(), a.inspectCommand(), a.modelsCommand(),
		a.doctorCommand(), a.cacheCommand(),
	)
	wrapArgs(root)
	return root
}

// exitCodes lists them for the help.
func exitCodes() string {
	var b strings.Builder
	b.WriteString("Exit codes:\n  0    done\n")
	for _, k := range fault.Kinds() {
		c := k.Consequence()
		fmt.Fprintf(&b, "  %-4d %s\n", c.Exit, c.Meaning)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// wrapArgs makes wrong positional arguments, a command's or an unknown command, an error of the command line.
func wrapArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return fault.Config.Errorf("%w (see %s --help)", err, cmd.CommandPath())
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		wrapArgs(sub)
	}
}

// prepare reads the settings of a command and opens the log.
func (a *app) prepare(cmd *cobra.Command) error {
	root := cmd.Root()
	if err := a.take(root); err != nil {
		return err
	}
	if a.options.Config != "" {
		if err := a.readFile(cmd.Context(), root, a.options.Config); err != nil {
			return err
		}
		if err := a.take(root); err != nil {
			return err
		}
	}
	setting.Fill(a.options.fields())
	if f, ok := a.stderr.(*os.File); ok {
		a.terminal = term.IsTerminal(int(f.Fd()))
	}
	a.log = zerolog.New(a.stderr)
	if a.options.LogFormat == "text" {
		a.log = zerolog.New(zerolog.ConsoleWriter{Out: a.stderr, TimeFormat: time.TimeOnly, NoColor: !a.terminal})
	}
	a.log = a.log.With().Timestamp().Logger()
	if a.options.Quiet {
		a.log = a.log.Level(zerolog.WarnLevel)
	}
	if cmd == root {
		return nil
	}
	return a.take(cmd)
}

// events shows what the engine reports: notes as log lines, stages as bars.
func (a *app) events() event.Events {
	a.bars = bars{out: a.stderr, visible: a.terminal && !a.options.Quiet, log: a.log}
	return event.Events{
		Note: func(level event.Level, message string, kv ...any) {
			a.bars.pause()
			a.note(level, message, kv...)
		},
		Progress: a.bars.progress,
	}
}

func (a *app) note(level event.Level, message string, kv ...any) {
	e := a.log.Info()
	if level == event.Warning {
		e = a.log.Warn()
	}
	e.Fields(kv).Msg(message)
}

// printf turns a failing write to stdout into an error, so that a full disk behind a redirect does not pass for
// success.
func (a *app) printf(format string, v ...any) error {
	if _, err := fmt.Fprintf(a.stdout, format, v...); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("write to standard output: %w", err)
	}
	return nil
}

func (a *app) printJSON(v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return a.printf("%s\n", text)
}

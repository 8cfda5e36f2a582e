package main

import (
	"cmp"
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
	args           []string // of the command line
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
	a.args = args
	root.SetArgs(args)
	if len(args) > 0 && strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) {
		a.offerValues()
	}
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
	var asked bool
	root := &cobra.Command{
		Use:   "vitft COMMAND",
		Short: "Fine-tune a vision transformer on your own long-tailed images",
		Long: `vitft trains a classifier head on the features of a frozen vision transformer (ONNX),
with losses made for imbalanced classes, and writes one ONNX file and a report of every class.

` + exitCodes(),
		SilenceUsage:      true,
		SilenceErrors:     true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.prepare(cmd) },
		Args:              cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asked {
				return a.printf("%s", version())
			}
			return cmd.Help()
		},
	}
	a.declare(root, a.options.fields()...)
	root.Flags().BoolVar(&asked, "version", false, "version, commit, Go, and the runtime library that is found")
	root.SetFlagErrorFunc(a.mistaken)
	root.SetUsageFunc(a.usageOf)
	root.AddCommand(
		a.finetuneCommand(), a.encodeCommand(), a.workerCommand(), a.statusCommand(), a.embedCommand(),
		a.evaluateCommand(),
		a.predictCommand(), a.exportCommand(), a.serveCommand(),
		a.sweepCommand(), a.reportCommand(), a.verifyCommand(), a.inspectCommand(), a.modelsCommand(),
		a.doctorCommand(), a.cacheCommand(), a.setupCommand(), a.initCommand(),
	)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.InitDefaultCompletionCmd()
	root.SetHelpCommand(a.helpCommand())
	root.InitDefaultHelpCmd()
	a.finish(root)
	completions(root)
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

// finish sees to what all commands have in common: wrong arguments, a command's or an unknown command, are an error of
// the command line that says what is meant, and help is set for a terminal.
func (a *app) finish(c *cobra.Command) {
	c.Long = wrap(cmp.Or(c.Long, c.Short), helpWidth)
	c.DisableFlagsInUseLine = true
	if c.HasSubCommands() && !c.Runnable() { // cobra's own
		c.Args, c.RunE = cobra.NoArgs, func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return a.surplus(cmd, args, err)
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		a.finish(sub)
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
	a.warnVariables(root)
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
		Detail:   func(kv ...any) { a.bars.detail = kv },
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

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"github.com/spf13/viper"
	"golang.org/x/term"

	"github.com/vitft/vitft/engine"
)

// app is what the commands share: where to write, how to log, and the
// settings read from flags, environment and file.
type app struct {
	stdout, stderr io.Writer
	settings       *viper.Viper
	log            zerolog.Logger
	terminal       bool // stderr is a terminal: progress bars may be drawn
	bars           bars
}

const exitCodeHelp = `Exit codes:
  0    done
  1    failed, may work when tried again (I/O, network, full disk)
  2    bad flags or configuration
  3    bad or missing data or model file
  4    runtime library or provider not usable
  130  interrupted, state saved`

// run executes one command line and returns its exit code. It never lets a
// panic's stack trace reach the user.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (code int) {
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(stderr, "vitft: internal error: %v (please report it with the command line)\n", p)
			code = exitFailed
		}
	}()
	a := &app{stdout: stdout, stderr: stderr, settings: newSettings(), log: zerolog.Nop()}
	root := a.root()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	a.bars.pause()
	switch {
	case err == nil:
	case a.settings.GetString("log-format") == "json":
		log := zerolog.New(stderr)
		log.Error().Timestamp().Int("exit_code", exitCode(err)).Msg(err.Error())
	default:
		fmt.Fprintf(stderr, "vitft: %v\n", err)
	}
	return exitCode(err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "vitft",
		Short: "Fine-tune a vision transformer on your own long-tailed images",
		Long: "vitft trains a classifier head on the features of a frozen vision transformer (ONNX),\n" +
			"with losses made for imbalanced classes, and writes one ONNX file and a report of every class.\n\n" + exitCodeHelp,
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.prepare(cmd) },
		Args:              cobra.NoArgs,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f := root.PersistentFlags()
	f.String("config", "", "YAML file with the same keys as the flags (flag > environment VITFT_… > file > default)")
	f.String("log-format", "text", "log lines on stderr as text or json")
	f.Bool("quiet", false, "log only warnings and draw no progress")
	f.String("ort-lib", "", "path of the ONNX Runtime shared library (default: searched for, see vitft doctor)")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	root.AddCommand(a.finetuneCommand(), a.encodeCommand(), a.evaluateCommand(), a.predictCommand(), a.exportCommand(), a.serveCommand(), a.sweepCommand(), a.reportCommand(), a.inspectCommand(), a.modelsCommand(), a.doctorCommand())
	wrapArgs(root)
	return root
}

// wrapArgs makes wrong positional arguments a usage error (exit code 2).
func wrapArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return fmt.Errorf("%w: %w (see vitft %s --help)", errUsage, err, cmd.Name())
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		wrapArgs(sub)
	}
}

// prepare reads the settings and opens the log.
func (a *app) prepare(cmd *cobra.Command) error {
	if err := a.readSettings(cmd); err != nil {
		return err
	}
	if f, ok := a.stderr.(*os.File); ok {
		a.terminal = term.IsTerminal(int(f.Fd()))
	}
	switch format := a.settings.GetString("log-format"); format {
	case "json":
		a.log = zerolog.New(a.stderr).With().Timestamp().Logger()
	case "text":
		a.log = zerolog.New(zerolog.ConsoleWriter{Out: a.stderr, TimeFormat: time.TimeOnly, NoColor: !a.terminal}).With().Timestamp().Logger()
	default:
		return fmt.Errorf("%w: log-format is %q; it can be text or json", errUsage, format)
	}
	if a.quiet() {
		a.log = a.log.Level(zerolog.WarnLevel)
	}
	return nil
}

func (a *app) quiet() bool { return a.settings.GetBool("quiet") }

// events shows what the engine reports: notes as log lines, stages as bars.
func (a *app) events() engine.Events {
	a.bars = bars{out: a.stderr, visible: a.terminal && !a.quiet(), log: a.log}
	return engine.Events{
		Note: func(level engine.Level, message string, kv ...any) {
			a.bars.pause()
			a.note(level, message, kv...)
		},
		Progress: a.bars.progress,
		Epoch:    a.bars.epoch,
	}
}

func (a *app) note(level engine.Level, message string, kv ...any) {
	e := a.log.Info()
	if level == engine.Warning {
		e = a.log.Warn()
	}
	e.Fields(kv).Msg(message)
}

// printf turns a failing write to stdout into an error, so that a full disk
// behind a redirect does not pass for success.
func (a *app) printf(format string, v ...any) error {
	if _, err := fmt.Fprintf(a.stdout, format, v...); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("write to standard output: %w", err)
	}
	return nil
}

package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vitft/vitft/engine/fault"
)

// helpWidth is the width that help is set for.
const helpWidth = 80

// helpCommand is help for a command by its name, as --help after it.
func (a *app) helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "What a command does, and every flag of it",
		RunE: func(cmd *cobra.Command, args []string) error {
			of, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return fault.Config.Errorf("there is no command %s%s", strings.Join(args, " "), a.command(of, rest[0]))
			}
			return of.Help()
		},
	}
}

// usageOf prints how a command is used, its flags under the rooms of their settings.
func (a *app) usageOf(cmd *cobra.Command) error {
	var b strings.Builder
	if cmd.Runnable() {
		fmt.Fprintf(&b, "Usage:\n  %s\n", cmd.UseLine())
	}
	if cmd.HasExample() {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", cmd.Example)
	}
	if cmd.HasAvailableSubCommands() {
		b.WriteString("\nCommands:\n")
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() || sub.Name() == "help" {
				about := wrap(sub.Short, helpWidth-sub.NamePadding()-3)
				fmt.Fprintf(&b, "  %-*s %s\n", sub.NamePadding(), sub.Name(),
					strings.ReplaceAll(about, "\n", "\n"+strings.Repeat(" ", sub.NamePadding()+3)))
			}
		}
	}
	rooms, flags := []string{}, map[string]*pflag.FlagSet{}
	add := func(room string, f *pflag.Flag) {
		if flags[room] == nil {
			rooms, flags[room] = append(rooms, room), pflag.NewFlagSet(room, pflag.ContinueOnError)
			flags[room].SortFlags = false
		}
		flags[room].AddFlag(f)
	}
	own := cmd.LocalFlags()
	for _, f := range a.fields[cmd] {
		if flag := own.Lookup(f.Key); flag != nil && cmd.HasParent() {
			add(f.Room, flag)
		}
	}
	own.VisitAll(func(f *pflag.Flag) {
		if !slices.ContainsFunc(rooms, func(r string) bool { return flags[r].Lookup(f.Name) != nil }) {
			add("every command", f)
		}
	})
	cmd.InheritedFlags().VisitAll(func(f *pflag.Flag) { add("every command", f) })
	for _, room := range rooms {
		title := "Flags"
		if room != "" {
			title = strings.ToUpper(room[:1]) + room[1:]
		}
		fmt.Fprintf(&b, "\n%s:\n%s", title, flags[room].FlagUsagesWrapped(helpWidth))
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\n%s COMMAND --help says more of a command.\n", cmd.CommandPath())
	}
	_, err := fmt.Fprint(cmd.OutOrStderr(), b.String())
	return err
}

// wrap sets text in lines of a width. Lines that begin with a space, and what a blank line parts, stay as they are.
func wrap(text string, width int) string {
	var lines []string
	at := -1 // the line that goes on; -1: none
	for _, line := range strings.Split(text, "\n") {
		if line == "" || line[0] == ' ' {
			lines, at = append(lines, line), -1
			continue
		}
		for _, word := range strings.Fields(line) {
			if at >= 0 && len([]rune(lines[at]))+1+len([]rune(word)) <= width {
				lines[at] += " " + word
			} else {
				lines, at = append(lines, word), len(lines)
			}
		}
	}
	return strings.Join(lines, "\n")
}

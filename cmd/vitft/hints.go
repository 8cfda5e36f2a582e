package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/setting"
)

// commandHabits are what other programs call our commands, or, after the name of one, the commands of it. Those of
// settings are setting.Habits.
var commandHabits = map[string]string{
	"train": "finetune", "fit": "finetune", "fine-tune": "finetune", "tune": "finetune", "learn": "finetune",
	"val": "evaluate", "validate": "evaluate", "test": "evaluate", "eval": "evaluate", "score": "evaluate",
	"classify": "predict", "infer": "predict", "inference": "predict", "detect": "predict", "extract": "embed",
	"features": "embed", "embeddings": "embed", "embed-images": "embed", "extract-features": "embed",
	"feature-extraction": "embed", "vectors": "embed", "precompute": "encode", "queue": "encode --queue",
	"cluster": "encode --queue", "distributed": "encode --queue", "distribute": "encode --queue",
	"launch": "encode --queue", "torchrun": "encode --queue", "agent": "worker", "node": "worker", "join": "worker",
	"jobs": "status", "top": "status", "squeue": "status", "workers": "status",
	"clean": "cache prune", "clear": "cache prune", "gc": "cache prune", "purge": "cache prune",
	"prune": "cache prune", "cleanup": "cache prune", "clear-cache": "cache prune", "du": "cache size",
	"explain": "predict --explain", "heatmap": "predict --explain", "gradcam": "predict --explain",
	"attention": "predict --explain", "watch": "finetune --watch", "dashboard": "finetune --watch",
	"monitor": "finetune --watch", "tensorboard": "finetune --watch", "convert": "export", "save": "export",
	"start": "serve", "server": "serve", "deploy": "serve", "grid": "sweep", "search": "sweep", "hpo": "sweep",
	"benchmark": "sweep", "html": "report", "plot": "report", "check": "verify", "fsck": "verify", "info": "inspect",
	"show": "inspect", "summary": "inspect", "describe": "inspect", "download": "models pull", "pull": "models pull",
	"fetch": "models pull", "get": "models pull", "list": "models list", "ls": "models list", "zoo": "models list",
	"hub": "models list", "diagnose": "doctor", "env": "doctor", "checks": "doctor", "install": "setup",
	"bootstrap": "setup", "cache ls": "cache list", "cache info": "cache list", "cache show": "cache list",
	"cache rm": "cache prune", "cache remove": "cache prune", "cache delete": "cache prune",
	"models search": "models list", "models show": "models list", "new": "init", "config": "init", "template": "init",
	"version": "--version", "settings": "finetune --help",
}

// flagNotes answer flags of other programs that there is nothing like here, or, after the name of a command, in it.
var flagNotes = map[string]string{
	"num-classes":          "the classes are those of the training images",
	"class-map":            "the classes are those of the training images",
	"amp":                  "features are computed as the backbone's file has it",
	"deterministic":        "the same inputs give the same bits anyway",
	"start-epoch":          "--resume goes on where the run in --out was interrupted",
	"exist-ok":             "a run folder that is there is kept under another name",
	"overwrite-output-dir": "a run folder that is there is kept under another name",
	"save-period":          "a checkpoint is written every few seconds",
	"log-interval":         "every epoch is in history.jsonl of the run folder",
	"do-train":             "finetune trains, and evaluates on --test",
	"do-eval":              "finetune evaluates on --test; vitft evaluate does so with other images",
	"test-only":            "that is vitft evaluate --run RUN --test IMAGES",
	"push-to-hub":          "vitft export --hf writes the hub's files beside the model",
	"version":              "that is vitft --version",
	"conf":                 "every image has its confidence, and none is left out for it",
	"threshold":            "every image has its confidence, and none is left out for it",
	"wandb":                plots,
	"report-to":            plots,
	"tensorboard":          plots,
	"class-names":          "classes are named by the folders or labels of the training images",
	"label-column":         "the columns of a list are known by their names, such as path and label",
	"hf-token":             "the token is HF_TOKEN, or what hf auth login stored",
	"predict image":        predictImages,
	"predict images":       predictImages,
	"predict source":       predictImages,
	"predict input":        predictImages,
	"predict test":         predictImages,
	"predict i":            predictImages,
	"predict out":          predictOutput,
	"predict output":       predictOutput,
	"predict o":            predictOutput,
	"predict save":         predictOutput,
	"predict save-txt":     predictOutput,
	"predict format":       predictOutput,
	"predict json":         predictOutput,
	"predict csv":          "vitft evaluate --out FILE.csv writes one; predict prints a JSON object a line",
	"serve queue":          "that is --max-queue",
	"finetune queue":       encodeQueue,
	"sweep queue":          encodeQueue,
	"embed queue":          encodeQueue,
	"encode out":           "features go into --cache; vitft embed --out writes them as one file",
	"encode output":        "features go into --cache; vitft embed --out writes them as one file",
	"embed format":         "the end of --out says it: .parquet, .npz, .npy or .safetensors",
	"inspect model":        "the file follows without a flag: vitft inspect MODEL.onnx",
	"report run":           "the folder follows without a flag: vitft report RUN",
	"verify run":           "what is to be verified follows without a flag: vitft verify RUN",
	"pull repo":            "the name follows without a flag: vitft models pull NAME",
	"pull model":           "the name follows without a flag: vitft models pull NAME",
	"cache clear":          "that is vitft cache prune",
	"cache list":           "that is vitft cache list",
	"grpc-port":            "serve answers gRPC at --addr too",
	"grpc-addr":            "serve answers gRPC at --addr too",
}

const (
	plots         = "history.jsonl and report.html have what there is to plot; --watch shows it while it is going"
	encodeQueue   = "vitft encode --queue with the same settings encodes before, on any number of machines"
	predictImages = "images follow without a flag: vitft predict --model RUN IMAGE…"
	predictOutput = "a JSON object a line goes to standard output; write > FILE after the command"
)

// mistaken says of a wrong command line what is meant by it.
func (a *app) mistaken(cmd *cobra.Command, err error) error {
	if cmd.HasSubCommands() { // the flags are those of a command that there is not
		if word := a.word(cmd); word != "" {
			return fault.Config.Errorf("unknown command %q for %q%s", word, cmd.CommandPath(), a.command(cmd, word))
		}
	}
	if unknown, is := errors.AsType[*pflag.NotExistError](err); is {
		word := unknown.GetSpecifiedName()
		if short := unknown.GetSpecifiedShortnames(); short != "" {
			word, _, _ = strings.Cut(short, "=")
		}
		return fault.Config.Errorf("%w%s", err, a.flag(cmd, word))
	}
	if wrong, is := errors.AsType[*pflag.InvalidValueError](err); is {
		text, _, _ := strings.Cut(wrong.GetValue(), "?")
		if shown := inURL.ReplaceAllString(text, "://…@"); strings.Contains(text, "://") && shown != wrong.GetValue() {
			return fault.Config.Errorf("invalid argument %q for %q flag: %w", shown, "--"+wrong.GetFlag().Name,
				errors.Unwrap(wrong))
		}
	}
	return fault.Config.Errorf("%w", err)
}

// inURL are the credentials in a URL, which are not to be shown, as its parameters are not.
var inURL = regexp.MustCompile(`://[^/]*@`)

// word is the first argument after a command with commands of its own that is no flag.
func (a *app) word(cmd *cobra.Command) string {
	args := a.args
	if i := slices.Index(args, cmd.Name()); cmd.HasParent() && i >= 0 {
		args = args[i+1:]
	}
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return ""
	}
	return args[0]
}

// command is what may be meant by a command that is none.
func (a *app) command(cmd *cobra.Command, word string) string {
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	path := strings.TrimPrefix(cmd.CommandPath()+" ", "vitft ")
	meant := setting.Alike(strings.ToLower(word), names)
	for i := range meant {
		meant[i] = path + meant[i]
	}
	words := []string{strings.ToLower(word)}
	if meant == nil && cmp.Or(commandHabits[path+words[0]], commandHabits[words[0]]) == "" { // another's word, mistyped
		words = setting.Alike(words[0], slices.Sorted(maps.Keys(commandHabits)))
	}
	for _, word := range words {
		habit := cmp.Or(commandHabits[path+word], commandHabits[word])
		if habit != "" && strings.HasPrefix(habit, path) {
			meant = []string{habit}
		}
	}
	if meant == nil {
		return fmt.Sprintf(" (see %s --help)", cmd.CommandPath())
	}
	return fmt.Sprintf("; did you mean vitft %s?", strings.Join(meant, " or vitft "))
}

// flag is what may be meant by a flag that a command does not have.
func (a *app) flag(cmd *cobra.Command, word string) string {
	fields := slices.Concat(a.fields[cmd], a.fields[cmd.Root()])
	plain := strings.ReplaceAll(strings.ToLower(word), "_", "-")
	note := cmp.Or(flagNotes[cmd.Name()+" "+plain], flagNotes[plain])
	var meant []string
	for _, key := range setting.Meant(word, setting.Keys(fields)) {
		f, _ := setting.Find(fields, key)
		meant = append(meant, fmt.Sprintf("--%s (%s)", key, f.Help))
	}
	switch {
	case note != "":
		return "; " + note
	case meant != nil:
		return fmt.Sprintf("; did you mean %s?", strings.Join(meant, ", or "))
	}
	var elsewhere []string
	key := plain
	if habit := setting.Habits()[plain]; habit != nil && !slices.Contains(a.keys(cmd.Root()), plain) {
		key = habit[0]
	}
	for _, sub := range cmd.Root().Commands() {
		if slices.Contains(setting.Keys(a.fields[sub]), key) {
			elsewhere = append(elsewhere, sub.Name())
		}
	}
	switch {
	case elsewhere != nil && key != plain:
		return fmt.Sprintf("; that would be --%s of %s", key, strings.Join(elsewhere, ", "))
	case elsewhere != nil:
		return fmt.Sprintf("; it is a flag of %s", strings.Join(elsewhere, ", "))
	}
	return fmt.Sprintf(" (see %s --help)", cmd.CommandPath())
}

// surplus says what may be meant by arguments that a command does not take.
func (a *app) surplus(cmd *cobra.Command, args []string, err error) error {
	resume := cmd.Flag("resume")
	word := ""
	if len(args) > 0 {
		word = args[0]
	}
	key, value, assigned := strings.Cut(strings.TrimLeft(word, "-"), "=")
	switch {
	case cmd.HasSubCommands() && word != "":
		return fault.Config.Errorf("%w%s", err, a.command(cmd, word))
	case resume != nil && resume.Changed && word != "":
		return fault.Config.Errorf("%w; --resume takes no value: the run that is to go on is named by --out %s", err,
			word)
	case assigned && cmd.Flag(key) != nil:
		return fault.Config.Errorf("%w; write --%s %s", err, key, value)
	case assigned && setting.Meant(key, setting.Keys(a.fields[cmd])) != nil:
		return fault.Config.Errorf("%w%s", err, a.flag(cmd, key))
	case word != "" && strings.HasPrefix(err.Error(), "unknown command "): // cobra's words where nothing is taken
		return fault.Config.Errorf("%s takes no argument, but got %q (see %s --help)", cmd.CommandPath(), word,
			cmd.CommandPath())
	}
	return fault.Config.Errorf("%w (see %s --help)", err, cmd.CommandPath())
}

// scripted are the variables that are no settings: those that the project's own scripts and tests read, and a secret.
var scripted = []string{"VITFT_INSTALL", "VITFT_PYTHON", "VITFT_DATA", "VITFT_SHARED", queueToken}

// warnVariables says of variables in the environment that are spelt like one of ours, but are none.
func (a *app) warnVariables(root *cobra.Command) {
	known := append(a.keys(root), "queue-token") // a secret, and so no flag
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		word, ours := strings.CutPrefix(strings.ToUpper(name), "VITFT_")
		key := strings.ToLower(strings.ReplaceAll(word, "_", "-"))
		read := slices.Contains(known, key) && name == variable(key)
		if !ours || value == "" || read || slices.Contains(scripted, name) {
			continue
		}
		meant := setting.Meant(key, known)
		for i := range meant {
			meant[i] = variable(meant[i])
		}
		if meant != nil {
			a.log.Warn().Str("variable", name).Msg("no setting is read from this environment variable; did you mean " +
				strings.Join(meant, " or ") + "?")
		}
	}
}

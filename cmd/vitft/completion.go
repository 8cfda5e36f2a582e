package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/models"
	"github.com/vitft/vitft/onnx/adapt"
)

// offer is what can stand for a value: words or, where none begins as what is typed, files by their extensions. Without
// either it is the folders.
type offer struct {
	words func(typed string) []string
	files []string
}

func wordsOf(list ...string) offer { return offer{words: func(string) []string { return list }} }
func filesOf(extensions ...string) offer {
	return offer{files: extensions}
}

// offers are those of settings whose values are neither a few words nor numbers, which their fields know.
var offers = map[string]offer{
	"config": filesOf("yaml", "yml", "json"), "preprocess": filesOf("json"), "adapter": filesOf("safetensors"),
	"ort-lib": filesOf("so", "dylib"), "tls-cert": filesOf("pem", "crt"), "tls-key": filesOf("pem", "key"),
	"train": images, "val": images, "test": images, "run": {}, "cache": {},
	"model":        filesOf("onnx"),
	"backbone":     {words: backbones, files: []string{"onnx"}},
	"feature":      wordsOf("auto", "pooled", "cls", "mean", "cls+mean", "logits-input"),
	"imbalance":    wordsOf("exp:", "step:"),
	"kappa":        {words: estimators},
	"adapt":        {words: kinds},
	"adapt-blocks": wordsOf("auto", "all"),
	"adapt-rank":   wordsOf("auto"),
	"keep-tokens":  wordsOf("auto"),
	"addr":         wordsOf("localhost:8080", ":8080"),
}

// images are files that list or hold images; folders are offered beside them.
var images = filesOf("csv", "tsv", "jsonl", "json", "txt", "parquet", "tar", "zip", "gz", "bin")

// arguments are those of commands that take some, beside those that take any file.
var arguments = map[string]offer{
	"vitft inspect": offers["backbone"], "vitft report": {}, "vitft verify": {}, "vitft sweep": offers["config"],
	"vitft models pull": {words: backbones},
}

func backbones(string) (names []string) {
	for _, b := range models.List() {
		names = append(names, b.Name+"\t"+b.Description)
	}
	return names
}

// estimators are those of κ and, behind the colon, the options of one, another time after each comma.
func estimators(typed string) (list []string) {
	name, options, given := strings.Cut(typed, ":")
	if !given {
		return calib.Names()
	}
	before := options[:strings.LastIndexByte(options, ',')+1]
	for _, o := range calib.Options(name) {
		list = append(list, name+":"+before+o)
	}
	return list
}

// kinds are those of what is trained inside the backbone, joined to those that are typed already.
func kinds(typed string) (list []string) {
	before := typed[:strings.LastIndexByte(typed, '+')+1]
	if before == "" {
		list = append(list, "none")
	}
	for _, k := range adapt.Kinds() {
		if _, err := adapt.Kind(before + string(k)).Parts(); err == nil {
			list = append(list, before+string(k))
		}
	}
	return list
}

// complete answers a shell's question for what a value can be.
func (o offer) complete(typed string) ([]string, cobra.ShellCompDirective) {
	if o.words != nil {
		other := func(w string) bool { return !strings.HasPrefix(w, typed) }
		goesOn := func(w string) bool { return strings.ContainsAny(w[len(w)-1:], ":=") }
		list := slices.DeleteFunc(slices.Clone(o.words(typed)), other)
		switch {
		case slices.ContainsFunc(list, goesOn):
			return list, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		case len(list) > 0 || o.files == nil:
			return list, cobra.ShellCompDirectiveNoFileComp
		}
	}
	if o.files == nil {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	return o.files, cobra.ShellCompDirectiveFilterFileExt
}

// offerOf is what a field's values can be.
func offerOf(f setting.Field) (offer, bool) {
	o, special := offers[f.Key]
	switch {
	case special:
		return o, true
	case f.Values != nil:
		return wordsOf(f.Values...), true
	case f.Type == "bool":
		return wordsOf("true", "false"), true
	case f.Type != "string" && f.Type != "list": // numbers: the default shows their form
		return wordsOf(strings.Fields(f.Default)...), true
	}
	return offer{}, false
}

// completions lets shells complete the arguments of a command and of those below it.
func completions(cmd *cobra.Command) {
	if o, ok := arguments[cmd.CommandPath()]; ok {
		cmd.ValidArgsFunction = func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
			return o.complete(typed)
		}
	}
	for _, sub := range cmd.Commands() {
		completions(sub)
	}
}

// offerValues has the shell complete the values of flags. Cobra keeps that in a map of the process, with all that the
// flags refer to, so it is done only where a shell asks.
func (a *app) offerValues() {
	for cmd, fields := range a.fields {
		for _, f := range fields {
			if o, ok := offerOf(f); ok { // it fails for a flag that has one already or that there is not
				_ = cmd.RegisterFlagCompletionFunc(f.Key, func(_ *cobra.Command, _ []string, typed string) ([]string,
					cobra.ShellCompDirective) {
					return o.complete(typed)
				})
			}
		}
	}
}

package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
)

// A wrong command line is answered with what is meant by it, and exit code 2.
func TestMistakesAreAnswered(t *testing.T) {
	dir := photos(t, 2)
	t.Chdir(t.TempDir())
	file := func(name, text string) string {
		return testkit.WriteFile(t, filepath.Join(t.TempDir(), name), []byte(text))
	}
	for line, want := range map[string]string{
		"train --data x":               "did you mean vitft finetune?",
		"trian":                        "did you mean vitft finetune?",
		"finetnue --train x":           "did you mean vitft finetune?",
		"fit":                          "did you mean vitft finetune?",
		"val --run x":                  "did you mean vitft evaluate?",
		"classify a.jpg":               "did you mean vitft predict?",
		"download vit":                 "did you mean vitft models pull?",
		"models download x":            "did you mean vitft models pull?",
		"models lst":                   "did you mean vitft models list?",
		"version":                      "did you mean vitft --version?",
		"frobnicate":                   "see vitft --help",
		"extract --train x":            "did you mean vitft embed?",
		"clean":                        "did you mean vitft cache prune?",
		"gc":                           "did you mean vitft cache prune?",
		"cluster":                      "did you mean vitft encode --queue?",
		"agent":                        "did you mean vitft worker?",
		"gradcam a.jpg":                "did you mean vitft predict --explain?",
		"cache clean":                  "did you mean vitft cache prune?",
		"cache ls":                     "did you mean vitft cache list?",
		"cache --clear":                "that is vitft cache prune",
		"predict --source a.jpg":       "vitft predict --model RUN IMAGE…",
		"predict --output a.csv b.jpg": "write > FILE",
		"predict --gradcam x a.jpg":    "did you mean --explain",
		"predict --model r --explain a.jpg b.jpg": "name a FILE.png or a folder",
		"evaluate --model run":                    "did you mean --run",
		"inspect --model x":                       "vitft inspect MODEL.onnx",
		"finetune --half":                         "that would be --precision of export",
		"finetune --port 80":                      "did you mean --watch",
		"finetune -e 3":                           "did you mean --epochs",
		"finetune --report-to wandb":              "--watch shows it",
		"encode --out x":                          "vitft embed --out",
		"finetune --queue embedded":               "vitft encode --queue with the same settings",
		"worker --nats x":                         "did you mean --queue",
		"cache prune --max-age 30d":               "did you mean --older-than",
		"help trian":                              "did you mean vitft finetune?",
		"help models pul":                         "did you mean vitft models pull?",
		"completion bsh":                          "did you mean vitft completion bash",
		"finetune --epoch 3":                      "did you mean --epochs (epochs)?",
		"finetune -epochs 3":                      "did you mean --epochs",
		"finetune --epochs=3x":                    "epochs: 3x is no whole number",
		"finetune --batch-size 3":                 "did you mean --head-batch (samples of one update), or --batch",
		"finetune --num_train_epochs 3":           "did you mean --epochs",
		"finetune --model vit.onnx":               "did you mean --backbone",
		"finetune --device cuda":                  "did you mean --provider",
		"finetune --output_dir x":                 "did you mean --out ",
		"finetune --num-classes 3":                "the classes are those of the training images",
		"finetune --resume run/checkpoint":        "named by --out run/checkpoint",
		"finetune data=x epochs=3":                "did you mean --train",
		"finetune epochs=3":                       "write --epochs 3",
		"finetune --version":                      "vitft --version",
		"predict --epochs 3":                      "it is a flag of finetune",
		"predict --weights run a.jpg":             "did you mean --model",
		"serve --port 8080":                       "did you mean --addr",
		"evaluate surplus":                        `takes no argument, but got "surplus"`,
		"finetune --frobnicate":                   "see vitft finetune --help",
		"finetune --config " + file("c.yaml", "training: {epochs: 3}\n"): `unknown key "training"; vitft init writes`,
		"init -": "name one",
		"finetune --config " + file("a.yaml", "batch_size: 3\n"):                                 `unknown key "batch_size"; did you mean head-batch or batch?`,
		"sweep " + file("b.yaml", "train: "+dir+"\ntest: "+dir+"\ngrid: [{learning_rate: 1}]\n"): `unknown key "learning_rate"; did you mean lr?`,
	} {
		code, _, stderr := vitft(t, strings.Fields(line)...)
		if code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("vitft %s: exit code %d, %q lacks %q", line, code, stderr, want)
		}
	}
}

// A variable that is spelt like one of ours is a warning; the project's own for scripts and tests are none.
func TestVariablesThatAreNone(t *testing.T) {
	for name, want := range map[string]string{
		"VITFT_EPOCH": "did you mean VITFT_EPOCHS?", "VITFT_DEVICE": "did you mean VITFT_PROVIDER?",
		"vitft_epochs": "did you mean VITFT_EPOCHS?", "VITFT_QUEUE_TOKN": "did you mean VITFT_QUEUE_TOKEN?",
		"VITFT_EPOCHS": "", "VITFT_QUEUE_TOKEN": "", "VITFT_DATA": "", "VITFT_ELSEWHERE": "", "OTHER_EPOCH": "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, "3")
			_, _, stderr := vitft(t, "models", "list", "--quiet")
			if !strings.Contains(stderr, want) || want == "" && strings.Contains(stderr, name) {
				t.Errorf("%q, want %q", stderr, want)
			}
		})
	}
}

// What habits, notes and completions lead to is there.
func TestHabitsLeadSomewhere(t *testing.T) {
	a, root := newApp(io.Discard, io.Discard)
	keys := a.keys(root)
	for word, meant := range setting.Habits() {
		for _, key := range meant {
			if !slices.Contains(keys, key) {
				t.Errorf("%s: there is no setting %s", word, key)
			}
		}
		if slices.Contains(keys, word) && !slices.Contains([]string{"model", "gpu", "cuda"}, word) {
			t.Errorf("%s is a setting itself", word)
		}
	}
	for word, path := range commandHabits {
		cmd, rest, err := root.Find(strings.Fields(path))
		flag := strings.TrimPrefix(strings.Join(rest, ""), "--")
		if err != nil || flag != "" && flag != "help" && cmd.Flag(flag) == nil {
			t.Errorf("%s: there is no vitft %s: %v %v", word, path, err, rest)
		}
		if other, _, _ := root.Find([]string{word}); other != root {
			t.Errorf("%s is a command itself", word)
		}
	}
	for key := range offers {
		if !slices.Contains(keys, key) {
			t.Errorf("there are completions of %s, which is no setting", key)
		}
	}
	for path := range arguments {
		if cmd, _, err := root.Find(strings.Fields(path)[1:]); err != nil || cmd.CommandPath() != path {
			t.Errorf("there are completions of %s, which is no command", path)
		}
	}
}

// Shells are told what a value can be.
func TestCompletion(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for line, want := range map[string]string{
		"fine":                              "finetune",
		"finetune --ep":                     "--epochs",
		"finetune --loss cv":                "cvs",
		"finetune --provider c":             "cuda",
		"finetune --backbone vitft":         "vitft-micro-28",
		"finetune --backbone some":          "onnx", // files of that kind
		"finetune --train x":                "csv",
		"finetune --config x":               "yaml",
		"finetune --kappa s":                "slope",
		"finetune --kappa slope:huber,by=l": "slope:huber,by=label",
		"finetune --adapt adapter+n":        "adapter+norm",
		"finetune --momentum 0":             "0.9",
		"inspect vitft":                     "vitft-micro-28",
		"sweep x":                           "yaml",
		"models pull dino":                  "dinov2-small",
		"models l":                          "list",
	} {
		code, stdout, stderr := vitft(t, append([]string{"__complete"}, strings.Fields(line)...)...)
		found := slices.ContainsFunc(strings.Split(stdout, "\n"), func(l string) bool {
			word, _, _ := strings.Cut(l, "\t")
			return word == want
		})
		if code != 0 || !found {
			t.Errorf("%q: exit code %d, %q lacks %q; %s", line, code, stdout, want, stderr)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if code, stdout, _ := vitft(t, "completion", shell); code != 0 || !strings.Contains(stdout, "vitft") {
			t.Errorf("completion %s: exit code %d, %q", shell, code, stdout)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("completing has written %v", entries)
	}
}

// Help is set for 80 columns, with every flag of a command once, under the room of its setting.
func TestHelp(t *testing.T) {
	a, root := newApp(io.Discard, io.Discard)
	var each func(cmd *cobra.Command)
	each = func(cmd *cobra.Command) {
		var b bytes.Buffer
		cmd.SetOut(&b)
		if err := cmd.Help(); err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(b.String(), "\n") {
			if len([]rune(line)) > helpWidth && !strings.HasPrefix(line, "  vitft ") { // but for examples
				t.Errorf("%s: a line of %d columns: %s", cmd.CommandPath(), len([]rune(line)), line)
			}
		}
		for _, f := range a.fields[cmd] {
			if named := regexp.MustCompile(` --` + f.Key + `\b`); f.Key != "probe" && !named.MatchString(b.String()) {
				t.Errorf("%s: --%s is not in its help", cmd.CommandPath(), f.Key)
			}
		}
		for _, sub := range cmd.Commands() {
			each(sub)
		}
	}
	each(root)
	_, stdout, _ := vitft(t, "finetune", "--help")
	at := -1
	for _, room := range []string{"Data:", "Backbone:", "Device:", "Features:", "Calibration:", "Inside the backbone:",
		"Loss:", "Head:", "Training:", "Output:", "Every command:"} {
		next := strings.Index(stdout, "\n"+room+"\n")
		if next <= at {
			t.Errorf("the flags of %s are missing, or out of order", room)
		}
		at = next
	}
}

func TestVersion(t *testing.T) {
	code, stdout, stderr := vitft(t, "--version")
	for _, want := range []string{"vitft ", "go1.", "ONNX Runtime"} {
		if code != 0 || stderr != "" || !strings.Contains(stdout, want) {
			t.Errorf("exit code %d, %q%q lacks %q", code, stdout, stderr, want)
		}
	}
}

// An explicit 0 is 0, whoever gives it and in which way, or is refused by its key with what would do.
func TestExplicitZero(t *testing.T) {
	a, root := newApp(io.Discard, io.Discard)
	zeros := 0
	for _, c := range root.Commands() {
		for _, f := range a.fields[c] {
			if f.Takes == "" {
				continue
			}
			text := "0"
			if f.Type == "duration" {
				text = "0s"
			}
			file := testkit.WriteFile(t, filepath.Join(t.TempDir(), "settings.yaml"), []byte(f.Key+": "+text+"\n"))
			ways := map[string][]string{"flag": {"--" + f.Key + "=" + text}, "file": {"--config", file},
				"environment": nil}
			for way, args := range ways {
				if way == "environment" {
					os.Setenv(variable(f.Key), text)
				}
				fields, err := tryPrepare([]string{c.Name()}, args...)
				os.Unsetenv(variable(f.Key))
				if err != nil {
					if !strings.Contains(err.Error(), f.Key+": "+text+" is not "+f.Takes) {
						t.Errorf("%s, 0 for %s by %s: %v", c.Name(), f.Key, way, err)
					}
					continue
				}
				zeros++
				of := fields[f.Key]
				if setting.Fill([]setting.Field{of}); of.Text() != text {
					t.Errorf("%s, 0 for %s by %s: it became %s", c.Name(), f.Key, way, of.Text())
				}
			}
		}
	}
	if zeros < 60 {
		t.Errorf("only %d zeros were taken", zeros)
	}
}

// A run that is resumed with a 0 in place of what it began with is refused, as with any other value; settings that have
// no effect are warnings.
func TestExplicitZeroOnResume(t *testing.T) {
	ort.Need(t)
	work := t.TempDir()
	t.Chdir(work)
	common := []string{"finetune", "--cache", "cache", "--quiet", "--out", "out", "--provider", "cpu"}
	code, stdout, stderr := vitft(t, append(common, "--train", photos(t, 4), "--epochs", "2", "--seed", "7",
		"--warmup", "1", "--adapt-rank", "4", "--focus", "3", "--imbalance-seed", "2")...)
	if code != 0 || !strings.Contains(stdout, "report: "+filepath.Join("out", "report.html")) {
		t.Fatalf("exit code %d, %s%s", code, stdout, stderr)
	}
	for _, key := range []string{"adapt-rank", "focus", "imbalance-seed"} {
		if !strings.Contains(stderr, "no effect") || !strings.Contains(stderr, "key="+key) {
			t.Errorf("it does not say that %s has no effect: %s", key, stderr)
		}
	}
	if n := strings.Count(stderr, "no effect"); n != 3 {
		t.Errorf("%d settings are said to have no effect: %s", n, stderr)
	}
	code, _, stderr = vitft(t, append(common, "--resume", "--seed", "0", "--warmup", "0", "--noise", "0")...)
	if code != 2 || !strings.Contains(stderr, "seed is 0, was 7") || !strings.Contains(stderr, "warmup is 0, was 1") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	if code, _, stderr = vitft(t, append(common, "--resume", "--noise", "0")...); code != 0 {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	if code, _, stderr = vitft(t, "finetune", "--config", "out/config.yaml", "--out", "again", "--quiet"); code != 0 ||
		strings.Count(stderr, "no effect") != 3 {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	same := func(name string) {
		a, b := testkit.ReadFile(t, filepath.Join("out", name)), testkit.ReadFile(t, filepath.Join("again", name))
		if !bytes.Equal(a, b) {
			t.Errorf("%s is another", name)
		}
	}
	same("head.safetensors")
	same("config.yaml")
}

// What predict counts its progress against is the number of images, where that is known and nobody has asked for quiet.
func TestPredictKnowsHowManyImages(t *testing.T) {
	dir := photos(t, 3)
	for _, c := range []struct {
		args  []string
		quiet bool
		want  int
	}{
		{[]string{dir}, false, 6},
		{[]string{dir, filepath.Join(dir, "dark", "0.png")}, false, 7},
		{[]string{dir, "-"}, false, 0},
		{[]string{dir}, true, 0},
	} {
		a := &app{stdout: io.Discard, options: rootOptions{Quiet: c.quiet}}
		if got := a.expected(c.args); got != c.want {
			t.Errorf("%v: %d images, want %d", c.args, got, c.want)
		}
	}
}

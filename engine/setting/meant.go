package setting

import (
	"fmt"
	"slices"
	"strings"
)

// habits are what other programs call a setting (Ultralytics, timm's train.py, run_image_classification.py of
// transformers, LIFT, the reference code of LDAM-DRW): our keys, in the order in which they are likely to be meant.
// Words in them are joined by hyphens; only the first of each is a key that there must be.
var habits = map[string][]string{
	"model": {"backbone", "model", "run"}, "model-name-or-path": {"backbone", "model", "run"},
	"model-name": {"backbone"}, "arch": {"backbone"}, "architecture": {"backbone"},
	"weights": {"backbone", "model", "run"}, "pretrained": {"backbone"}, "initial-checkpoint": {"backbone"},
	"checkpoint": {"run", "model", "resume"}, "pretrained-model": {"backbone"}, "encoder": {"backbone"},
	"run-dir": {"run"}, "onnx": {"model", "backbone"},

	"data": {"train", "test"}, "dataset": {"train", "test"}, "data-dir": {"train", "test"},
	"data-path": {"train", "test"}, "root": {"train", "test"}, "train-dir": {"train"}, "train-split": {"train"},
	"train-data": {"train"}, "train-folder": {"train"}, "train-path": {"train"}, "train-file": {"train"},
	"image-folder": {"train", "test"}, "dataset-name": {"train"}, "input": {"train", "test"},
	"source": {"train", "test"}, "val-dir": {"val"}, "validation": {"val"}, "validation-dir": {"val"},
	"val-split": {"val"}, "validation-folder": {"val"}, "validation-split": {"val"}, "val-data": {"val"},
	"val-ratio": {"val"}, "test-data": {"test"}, "test-folder": {"test"}, "valid": {"val"},
	"train-val-split": {"val"}, "test-dir": {"test"}, "eval": {"test"}, "imb-type": {"imbalance"},
	"imb-factor": {"imbalance"}, "imbalance-ratio": {"imbalance"},

	"device": {"provider"}, "gpu": {"provider"}, "gpus": {"provider"}, "gpu-id": {"provider"}, "cuda": {"provider"},
	"accelerator": {"provider"}, "devices": {"provider"}, "no-cuda": {"provider"}, "cpu": {"provider"},
	"workers": {"threads"}, "num-workers": {"threads"}, "dataloader-num-workers": {"threads"}, "jobs": {"threads"},
	"num-threads": {"threads"}, "j": {"threads"}, "concurrency": {"threads"}, "cache-dir": {"cache"},

	"batch-size": {"head-batch", "batch"}, "bs": {"head-batch", "batch"}, "train-batch-size": {"head-batch"},
	"per-device-train-batch-size": {"head-batch"}, "per-device-eval-batch-size": {"batch"},
	"validation-batch-size": {"batch"}, "micro-batch-size": {"micro-batch"}, "b": {"head-batch", "batch"},
	"max-batch-size": {"batch"}, "gradient-accumulation-steps": {"micro-batch"}, "grad-accum": {"micro-batch"},
	"accumulate": {"micro-batch"},

	"imgsz": {"image-size"}, "img-size": {"image-size"}, "input-size": {"image-size"}, "img": {"image-size"},
	"resolution": {"image-size"}, "mean": {"preprocess"}, "std": {"preprocess"}, "interpolation": {"preprocess"},
	"crop-pct": {"preprocess"}, "image-processor-name": {"preprocess"},

	"num-epochs": {"epochs"}, "e": {"epochs"}, "max-steps": {"epochs"}, "num-train-epochs": {"epochs"},
	"max-epochs": {"epochs"}, "n-epochs": {"epochs"}, "learning-rate": {"lr"}, "lr0": {"lr"}, "base-lr": {"lr"},
	"wd": {"weight-decay"}, "opt": {"optimizer"}, "optim": {"optimizer"}, "warmup-epochs": {"warmup"},
	"warmup-ratio": {"warmup"}, "warmup-steps": {"warmup"}, "patience": {"early-stop"},
	"early-stopping": {"early-stop"}, "patience-epochs": {"early-stop"}, "random-state": {"seed"},
	"random-seed": {"seed"}, "manual-seed": {"seed"}, "ema": {"average"}, "model-ema": {"average"},
	"criterion": {"loss"}, "losses": {"loss"}, "loss-type": {"loss"}, "loss-fn": {"loss"}, "loss-function": {"loss"},
	"train-rule": {"loss"}, "class-weights": {"loss"}, "class-weight": {"loss"}, "label-smoothing": {"loss"},
	"smoothing": {"loss"}, "focal-gamma": {"focus"}, "t0": {"switch"}, "drop": {"noise"}, "dropout": {"noise"},
	"temperature": {"calibration"},

	"freeze": {"adapt"}, "peft": {"adapt"}, "lora": {"adapt"}, "adaptformer": {"adapt"}, "unfreeze": {"adapt"},
	"freeze-backbone": {"adapt"}, "unfreeze-backbone": {"adapt"}, "lora-r": {"adapt-rank"},
	"lora-rank": {"adapt-rank"}, "freeze-layers": {"adapt-blocks"}, "rank": {"adapt-rank"}, "hflip": {"augment"},
	"aa": {"augment"}, "auto-augment": {"augment"}, "augmentation": {"augment"}, "augmentations": {"augment"},
	"fliplr": {"augment"}, "mixup": {"augment"}, "cutmix": {"augment"}, "tte": {"tta"}, "ten-crop": {"tta"},

	"output": {"out"}, "output-dir": {"out"}, "save-dir": {"out"}, "project": {"out"}, "name": {"out"},
	"experiment": {"out"}, "exp-str": {"out"}, "log-dir": {"out"}, "root-log": {"out"}, "logging-dir": {"out"},
	"run-name": {"out"}, "experiment-name": {"out"}, "o": {"out"}, "resume-from-checkpoint": {"resume"},
	"format": {"precision"}, "half": {"precision"}, "fp16": {"precision"}, "int8": {"precision"},
	"quantize": {"precision"}, "dtype": {"precision"}, "bf16": {"precision"}, "transformers": {"hf"},
	"port": {"addr", "watch"}, "http-port": {"addr"}, "host": {"addr"}, "bind": {"addr"}, "listen": {"addr"},
	"address": {"addr"}, "api-key": {"token"}, "ssl-keyfile": {"tls-key"}, "ssl-certfile": {"tls-cert"},
	"model-repository": {"model"}, "live": {"watch"}, "ui": {"watch"}, "dashboard": {"watch"}, "heatmap": {"explain"},
	"gradcam": {"explain"}, "attention": {"explain"}, "saliency": {"explain"}, "layer": {"feature"},
	"pooling": {"feature"}, "pool": {"feature"}, "num-shards": {"shard"}, "shards": {"shard"},
	"world-size": {"shard", "queue"}, "nodes": {"queue"}, "nats": {"queue"}, "url": {"queue"}, "fix": {"repair"},
	"days": {"older-than"}, "max-age": {"older-than"}, "max-size": {"keep"}, "q": {"quiet"}, "topk": {"top"},
	"top-k": {"top"}, "verbose": {"log-format"}, "silent": {"quiet"}, "cfg": {"config"}, "yaml": {"config"},
	"hyp": {"config"},
}

// Habits are the words of other programs that Meant knows, with the keys that each stands for.
func Habits() map[string][]string { return habits }

// Meant are those of the known keys that may be meant by a word which is none: what other programs call so, else what
// is spelt alike, the nearest first.
func Meant(word string, known []string) []string {
	word = strings.ToLower(strings.Trim(strings.NewReplacer("_", "-", ".", "-", " ", "-").Replace(word), "-"))
	if slices.Contains(known, word) {
		return []string{word}
	}
	ours, habit := habits[word]
	if !habit {
		return Alike(word, known)
	}
	var meant []string
	for _, key := range ours {
		if slices.Contains(known, key) {
			meant = append(meant, key)
		}
	}
	return meant
}

// Alike are those of the known words that differ from a word by a slip or two: a letter in three at most.
func Alike(word string, known []string) []string {
	best := (len([]rune(word)) + 1) / 3
	var alike []string
	for _, k := range known {
		d := distance(word, k)
		if d > best || d > (len(k)+1)/3 { // another word altogether
			continue
		}
		if d < best {
			best, alike = d, nil
		}
		alike = append(alike, k)
	}
	if alike == nil && len(word) >= 4 { // one that was cut short, and is no other's
		for _, k := range known {
			if strings.HasPrefix(k, word) {
				alike = append(alike, k)
			}
		}
	}
	return alike
}

// distance is how many letters must be put in, left out, changed or swapped with the next to make one text of another.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	var before []int
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := range x {
		next := make([]int, len(y)+1)
		next[0] = i + 1
		for j := range y {
			change := row[j]
			if x[i] != y[j] {
				change++
			}
			next[j+1] = min(change, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && x[i] == y[j-1] && x[i-1] == y[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(y)]
}

// Known answers a word that is no key: what is meant, else all that there are.
func Known(word string, known []string) string {
	if meant := Meant(word, known); meant != nil {
		return fmt.Sprintf("did you mean %s?", strings.Join(meant, " or "))
	}
	return "known keys: " + strings.Join(known, ", ")
}

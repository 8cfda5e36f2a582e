#!/usr/bin/env bash
# Runs the experiments behind docs/results.md and writes it, from docs/results.in.md and the tables.
#   scripts/results.sh DATA BACKBONE [OUT]
# DATA holds cifar100/ and caltech101/; BACKBONE is the ViT-Tiny; OUT (results/) keeps the sweeps. What is there already
# is not run again. VITFT names another binary than bin/vitft, CACHE another feature store.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
data=$(cd "$1" && pwd) backbone=$(realpath "$2") out=$(realpath -m "${3:-results}")
vitft=$(realpath "${VITFT:-bin/vitft}")
cache=${CACHE:+--cache=$CACHE}
mkdir -p "$out"
sweep() { # name, experiment, flags …
  local name=$1 file=$2
  shift 2
  [ -e "$out/$name/done" ] && return
  (cd "$data" && "$vitft" sweep "$root/experiments/$file.yaml" --backbone "$backbone" --out "$out/$name" $cache --quiet "$@" >/dev/null)
  touch "$out/$name/done"
}
caltech="--train caltech101/train --test caltech101/test"

for experiment in losses ablation t0_sweep; do
  sweep $experiment-ir100 $experiment
  sweep $experiment-ir50 $experiment --train cifar100/train_ir50.csv
  sweep $experiment-ir10 $experiment --train cifar100/train_ir10.csv
  sweep $experiment-caltech $experiment $caltech
done
sweep fig1 fig1_miscalibration
sweep calibration-ir100 calibration
sweep calibration-classwise calibration --calibration classwise
sweep calibration-caltech calibration $caltech
sweep views-2 views
sweep views-tta views --views 1 --tta=2
sweep views-4 views --views 4 --tta=4
sweep experts experts
sweep kappa kappa
sweep tuned tuned

# A line "@table NAME" becomes that sweep's table; "@values LOSS NAME …" is not needed: prose carries no figures.
awk -v out="$out" '
  /^@table / { file = out "/" $2 "/summary.md"; while ((getline line < file) > 0) if (line ~ /^\|/) print line; close(file); next }
  { print }' docs/results.in.md >docs/results.md

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

sweep losses-ir100 losses
sweep losses-ir50 losses --train cifar100/train_ir50.csv
sweep losses-ir10 losses --train cifar100/train_ir10.csv
sweep losses-caltech losses --train caltech101/train --test caltech101/test
sweep tuned-ir100 tuned
sweep ablation-ir100 ablation
sweep t0-ir100 t0_sweep
sweep fig1-ir100 fig1_miscalibration
sweep calibration-ir100 calibration
sweep views-ir100 views
sweep tta-ir100 views --views 1
sweep kappa-ir100 kappa
sweep experts-ir100 experts
sweep adapters-ir100 adapters

# A line "@table NAME" becomes that sweep's table.
awk -v out="$out" '
  /^@table / {
    file = out "/" $2 "/summary.md"; lines = 0
    while ((getline line < file) > 0) if (line ~ /^\|/) { print line; lines++ }
    close(file)
    if (!lines) { print "no table in " file >"/dev/stderr"; exit 1 }
    next
  }
  { print }' docs/results.in.md >docs/results.md

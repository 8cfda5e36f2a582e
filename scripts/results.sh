#!/usr/bin/env bash
# Runs the experiments behind docs/results*.md and writes these, from docs/results*.in.md and the tables.
#   scripts/results.sh DATA BACKBONE [OUT [SET …]]
# DATA holds cifar100/ and caltech101/; BACKBONE is the ViT-Tiny; OUT (results/) keeps the sweeps; SET is ir100 (which
# docs/results.md is about), ir50, ir10 or caltech: without one, all. INSIDE=yes runs the ablation with adapters on the
# other three too, for hours without a GPU. What is there already is not run again. VITFT names another binary than
# bin/vitft, CACHE another feature store.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
data=$(cd "$1" && pwd) backbone=$(realpath "$2") out=$(realpath -m "${3:-results}")
shift $(($# < 3 ? $# : 3))
vitft=$(realpath "${VITFT:-bin/vitft}")
cache=${CACHE:+--cache=$CACHE}
all="ir100 ir50 ir10 caltech"
sets=${*:-$all}
for set in $sets; do
  [[ " $all " == *" $set "* ]] || { echo "no set $set: there are $all" >&2; exit 2; }
done
mkdir -p "$out"

sweep() { # name, experiment, flags …
  local name=$1 file=$2
  shift 2
  [ -e "$out/$name/done" ] && return
  (cd "$data" && "$vitft" sweep "$root/experiments/$file.yaml" --backbone "$backbone" --out "$out/$name" $cache --quiet "$@" >/dev/null)
  touch "$out/$name/done"
}

# A line "@table NAME" becomes the table of the set's sweep of that name.
tables() { # set
  awk -v out="$out" -v set="$1" '
    /^@table / {
      file = out "/" $2 "-" set "/summary.md"; lines = 0
      while ((getline line < file) > 0) if (line ~ /^\|/) { print line; lines++ }
      close(file)
      if (!lines) { print "no table in " file >"/dev/stderr"; exit 1 }
      next
    }
    { print }'
}

for set in $sets; do
  case $set in
    ir100 | ir50 | ir10) name="CIFAR-100-LT, imbalance ${set#ir}" flags="--train cifar100/train_$set.csv" ;;
    caltech) name=Caltech-101 flags="--train caltech101/train --test caltech101/test" ;;
  esac
  for experiment in losses tuned ablation t0_sweep fig1_miscalibration calibration kappa views experts; do
    sweep "$experiment-$set" "$experiment" $flags
  done
  sweep "tta-$set" views --views 1 $flags
  if [ "$set" = ir100 ]; then
    sweep adapters-ir100 adapters
    tables ir100 <docs/results.in.md >docs/results.md
  else
    page=docs/results-set.in.md
    if [ "${INSIDE:-}" = yes ]; then sweep "adapters_ablation-$set" adapters_ablation $flags; fi
    [ -e "$out/adapters_ablation-$set/done" ] && page+=' docs/results-inside.in.md'
    sed "s|@set|$name|; s|@flags|$flags|" $page | tables "$set" >"docs/results-$set.md"
  fi
done

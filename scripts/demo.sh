#!/usr/bin/env bash
# The main job on the embedded default backbone: long-tailed Fashion-MNIST (IR 100), a head with CE, one with CVS, and
# CVS again with the last block of the ViT learning too.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/fashion_mnist.sh
began=$SECONDS
demo() { # demo NAME FLAG…
  local name=$1
  shift
  rm -rf ".vitft/demo-$name"
  bin/vitft finetune --config experiments/fashion_mnist_lt.yaml --cache .vitft/cache --out ".vitft/demo-$name" "$@" >".vitft/demo-$name.txt"
}
demo ce --loss ce
demo cvs --loss cvs
inside=$SECONDS
demo inside --loss cvs --adapt full --adapt-blocks 1 --adapt-lr 0.0003 --epochs 4
printf '\nFashion-MNIST, imbalance ratio 100, embedded ViT; accuracy and ECE on the balanced test set;\n'
printf '"inside" is CVS with the last block learning too:\n\n'
paste -d ' ' .vitft/demo-ce.txt .vitft/demo-cvs.txt .vitft/demo-inside.txt | awk '
  function row(a, b, c, d, e, f, g, h) { printf "%-8s %8s %9s %9s %9s %9s %9s %11s\n", a, b, c, d, e, f, g, h }
  $1 == "group" { row($1, $2, "CE", "CVS", "inside", "ECE CE", "ECE CVS", "ECE inside") }
  $1 ~ /^(all|many|medium|few|worst)$/ { row($1, $2, $3, $7, $11, $4, $8, $12) }'
printf '\n%s seconds without downloads, %s of them inside; run folders: .vitft/demo-ce, -cvs, -inside\n' $((SECONDS - began)) $((SECONDS - inside))

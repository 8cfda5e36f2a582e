#!/usr/bin/env bash
# The main job on the embedded default backbone: long-tailed Fashion-MNIST (IR 100), once with CE, once with CVS.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/fashion_mnist.sh
began=$SECONDS
for loss in ce cvs; do
  rm -rf ".vitft/demo-$loss"
  bin/vitft finetune --config experiments/fashion_mnist_lt.yaml --loss "$loss" --cache .vitft/cache --out ".vitft/demo-$loss" >".vitft/demo-$loss.txt"
done
printf '\nFashion-MNIST, imbalance ratio 100, embedded ViT; accuracy and ECE on the balanced test set:\n\n'
paste -d ' ' .vitft/demo-ce.txt .vitft/demo-cvs.txt | awk '
  $1 == "group" { printf "%-8s %8s %9s %9s %9s %9s\n", $1, $2, "CE", "CVS", "ECE CE", "ECE CVS" }
  $1 ~ /^(all|many|medium|few|worst)$/ { printf "%-8s %8s %9s %9s %9s %9s\n", $1, $2, $3, $7, $4, $8 }'
printf '\n%s seconds without downloads; run folders: .vitft/demo-ce, .vitft/demo-cvs\n' $((SECONDS - began))

#!/usr/bin/env bash
# The main job on the embedded default backbone: long-tailed Fashion-MNIST (IR 100), once with CE, once with CVS.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/fashion_mnist.sh
data=.vitft/data/fashion-mnist
began=$SECONDS
for loss in ce cvs; do
  bin/vitft finetune --loss "$loss" --train $data/train-images-idx3-ubyte.gz --imbalance exp:100 \
    --test $data/t10k-images-idx3-ubyte.gz --cache .vitft/cache --out ".vitft/demo-$loss" >".vitft/demo-$loss.txt"
done
printf '\nFashion-MNIST, imbalance ratio 100, embedded ViT; accuracy and ECE on the balanced test set:\n\n'
paste .vitft/demo-ce.txt .vitft/demo-cvs.txt | awk -F'\t' '
  { split($1, a, " "); split($2, b, " ") }
  NR == 1 { printf "%-10s %8s %8s %8s %8s %8s\n", "classes", "number", "CE", "CVS", "ECE ce", "ECE cvs"; next }
  a[1] ~ /^(all|many|medium|few|worst)$/ { printf "%-10s %8s %8s %8s %8s %8s\n", a[1], a[2], a[3], b[3], a[4], b[4] }'
printf '\n%s seconds without downloads; run folders: .vitft/demo-ce, .vitft/demo-cvs\n' $((SECONDS - began))

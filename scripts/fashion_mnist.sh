#!/usr/bin/env bash
# Put the four Fashion-MNIST files (MIT licence) under DEST, default .vitft/data/fashion-mnist.
# Source: the Debian package dataset-fashion-mnist where apt is at hand, else the project's own files.
# The checksums are of the *unpacked* IDX files (Debian packs them anew), taken from the Debian package.
set -euo pipefail
dest=${1:-$(cd "$(dirname "$0")/.." && pwd)/.vitft/data/fashion-mnist}
sums='
c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888 train-images-idx3-ubyte
bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9 train-labels-idx1-ubyte
5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b t10k-images-idx3-ubyte
0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34 t10k-labels-idx1-ubyte'
official='https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion'

sha256() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -d' ' -f1; }
good() { # good DIR: all four files are there and right
  local sum name
  while read -r sum name; do
    [ -z "$sum" ] && continue
    [ -f "$1/$name.gz" ] && [ "$(gzip -dc "$1/$name.gz" 2>/dev/null | sha256)" = "$sum" ] || return 1
  done <<<"$sums"
}
publish() { mkdir -p "$dest"; cp "$1"/*-ubyte.gz "$dest/"; printf '%s\n' T-shirt/top Trouser Pullover Dress Coat Sandal Shirt Sneaker Bag 'Ankle boot' >"$dest/classes.txt"; echo "Fashion-MNIST: $dest ($2)"; exit 0; }

good "$dest" && [ -f "$dest/classes.txt" ] && { echo "Fashion-MNIST: $dest (already there)"; exit 0; }
system=/usr/share/datasets/fashion-mnist
good "$system" && publish "$system" "from $system"

tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
if command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; then
  # Where the system's own lists of packages are of no use they are fetched to a folder of our own: nothing is changed or
  # installed there.
  own=(-o "Dir::State::lists=$tmp/lists" -o "Dir::Cache=$tmp/cache")
  get() { (cd "$tmp" && apt-get -qq "$@" download dataset-fashion-mnist) >/dev/null 2>&1; }
  fresh() { mkdir -p "$tmp/lists/partial" "$tmp/cache/archives/partial" && apt-get -qq "${own[@]}" update >/dev/null 2>&1 && get "${own[@]}"; }
  if get || fresh; then
    dpkg-deb -x "$tmp"/dataset-fashion-mnist_*.deb "$tmp/deb"
    good "$tmp/deb$system" && publish "$tmp/deb$system" "Debian package dataset-fashion-mnist"
  fi
fi
if command -v curl >/dev/null; then
  mkdir "$tmp/web"
  for f in train-images-idx3 train-labels-idx1 t10k-images-idx3 t10k-labels-idx1; do
    curl -fsSL --retry 2 -m 600 -o "$tmp/web/$f-ubyte.gz" "$official/$f-ubyte.gz" || { rm -rf "$tmp/web"; break; }
  done
  [ -d "$tmp/web" ] && good "$tmp/web" && publish "$tmp/web" "$official"
fi
echo "Fashion-MNIST could not be fetched: neither the Debian package dataset-fashion-mnist nor $official gave the right files." >&2
echo "Cure: put its four *-ubyte.gz files into $dest and run this again." >&2
exit 1

#!/usr/bin/env bash
# Puts the ONNX Runtime shared library where vitft finds it.
#
#   scripts/runtime.sh [--platform OS-ARCH] [DEST]          the CPU library
#   scripts/runtime.sh --gpu [--cuda 12|13] [DEST]          the CUDA build (Linux, amd64), 250 MB to fetch
#   scripts/runtime.sh --gpu-deps [--cuda 12|13] [DEST]     the CUDA build and the libraries of NVIDIA's that it needs,
#                                                           1.4 GB (CUDA 13) or 1.9 GB (CUDA 12) to fetch
#
# The CPU library: DEST is vitft/lib in the user's cache folder unless given, where every vitft of that user finds it. A
# library that vitft would find anyway and that is recent enough is used as it is, and nothing is fetched. Otherwise the
# pinned version comes from the first of these that works:
#   pip   the PyPI wheel onnxruntime           21-24 MB
#   npm   the npm package onnxruntime-node    114 MB
#   curl or wget, the release page of the project
# What is pinned stands in engine/library/pins.txt, for vitft setup too, which needs neither pip nor npm but vitft. Only
# files in DEST are written, each by a rename of a checked temporary file; running it again is harmless.
#
# --platform (linux-amd64, linux-arm64, darwin-arm64) fetches for another machine and looks at no installed library.
#
# The CUDA build: DEST is vitft/lib-gpu in the user's cache folder; set VITFT_ORT_LIB to it. With --cuda 13, the default,
# it is ONNX Runtime 1.30.0 for drivers of CUDA 13 (version 580 or later); with --cuda 12 it is 1.26.0, the last version
# on PyPI for drivers of CUDA 12 (525 or later); nvidia-smi shows what the driver can. The build needs cuBLAS,
# cuRAND, the CUDA runtime, cuDNN 9 and, for CUDA 12, cuFFT: from the CUDA toolkit, from pip packages, or from --gpu-deps,
# which takes NVIDIA's own wheels (their licences apply) and puts the libraries beside the other one. Everything comes
# from PyPI through pip and is pinned by checksum. The driver is installed with the machine.
set -eu

min_minor=24 # the binding asks for API 24, that is version 1.24 or later
root=$(cd "$(dirname "$0")/.." && pwd)
pins=$root/engine/library/pins.txt

# pinned WHAT PLATFORM OF lists what is pinned: name, version and SHA-256.
pinned() { awk -v what="$1" -v platform="$2" -v of="$3" '$1 == what && $2 == platform && $3 == of { print $4, $5, $6 }' "$pins"; }

# required WHAT PLATFORM lists wheels as pip reads them.
required() { pinned "$1" "$2" wheel | awk '{ print $1 "==" $2 " --hash=sha256:" $3 }'; }

version=$(pinned cpu linux-amd64 wheel | cut -d ' ' -f 2)

say() { printf 'runtime: %s\n' "$*"; }
note() { printf 'runtime: %s\n' "$*" >&2; }
die() { note "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

sha256() {
  if have sha256sum; then sha256sum "$1"; elif have shasum; then shasum -a 256 "$1"; else openssl dgst -r -sha256 "$1"; fi | cut -d ' ' -f 1
}

# lib_version FILE prints 1.30.0: the ELF symbol version, or the Mach-O install name.
lib_version() {
  LC_ALL=C grep -a -o -E -m 1 'VERS_1\.[0-9]+\.[0-9]+|libonnxruntime\.1\.[0-9]+\.[0-9]+\.dylib' "$1" 2>/dev/null |
    head -n 1 | sed -E 's/^[A-Za-z_.]*(1\.[0-9]+\.[0-9]+).*/\1/'
}

recent() { # recent VERSION
  case $1 in 1.*) minor=${1#1.}; [ "${minor%%.*}" -ge "$min_minor" ] ;; *) return 1 ;; esac
}

# in_dir DIR prints the library that vitft would load from it: the unversioned name first, then the newest.
in_dir() {
  [ -n "$1" ] && [ -d "$1" ] || return 0
  if [ -f "$1/$name" ]; then echo "$1/$name"; return 0; fi
  ls -1 "$1" 2>/dev/null | grep -E '^libonnxruntime\.(so\.[0-9.]+|[0-9.]+\.dylib)$' | sort -t . -k 3,3n -k 4,4n -k 5,5n | tail -n 1 | sed "s|^|$1/|"
}

use_installed() {
  if [ -n "${VITFT_ORT_LIB:-}" ]; then
    lib=$VITFT_ORT_LIB
    [ -d "$lib" ] && lib=$(in_dir "$lib")
    [ -n "$lib" ] && [ -f "$lib" ] || die "VITFT_ORT_LIB=$VITFT_ORT_LIB holds no $name; correct it, or unset it to have the library fetched"
    v=$(lib_version "$lib")
    recent "${v:-0}" || die "VITFT_ORT_LIB=$VITFT_ORT_LIB is version ${v:-unknown}, need 1.$min_minor or later; correct it, or unset it to have the library fetched"
    say "using $lib (version $v, from VITFT_ORT_LIB)"
    exit 0
  fi
  paths="${LD_LIBRARY_PATH:-}:/usr/local/lib:/usr/lib/$(uname -m)-linux-gnu:/lib/$(uname -m)-linux-gnu:/usr/lib64:/usr/lib:/lib"
  if [ "$(uname -s)" = Darwin ]; then
    paths="${DYLD_LIBRARY_PATH:-}:/opt/homebrew/lib:/usr/local/lib:/usr/lib"
  fi
  IFS=:
  for dir in "$root/bin" "$root/bin/lib" "$dest" $paths; do
    unset IFS
    lib=$(in_dir "$dir")
    [ -n "$lib" ] || continue
    v=$(lib_version "$lib")
    if ! recent "${v:-0}"; then
      note "passing over $lib: version ${v:-unknown}, need 1.$min_minor or later"
      continue
    fi
    if [ -f "$lib.sha256" ] && [ "$(sha256 "$lib")" != "$(cat "$lib.sha256")" ]; then
      note "fetching $lib again: it is not the file that was put there"
      continue
    fi
    say "using $lib (version $v), nothing to fetch"
    exit 0
  done
  unset IFS
}

# check FILE OF holds a file against its pinned checksum.
check() {
  sum=$(sha256 "$1")
  [ "$sum" = "$(pinned cpu "$platform" "$2" | cut -d ' ' -f 3)" ] || { echo "SHA-256 is $sum, not the pinned one" >&2; return 1; }
}

# find_pip sets pip to a command that works.
find_pip() {
  pip=
  for p in 'python3 -m pip' 'python -m pip' pip3 pip; do
    if $p --version >/dev/null 2>&1; then pip=$p; return 0; fi
  done
  echo "no pip" >&2
  return 1
}

# wheels FOLDER fetches the wheels that stdin lists, checked by pip against their pins.
wheels() {
  cat >"$tmp/pins"
  tags=
  for t in manylinux_2_28 manylinux_2_27 manylinux_2_17 manylinux2014; do tags="$tags --platform ${t}_x86_64"; done
  $pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes $tags \
    --implementation cp --python-version 311 --dest "$1" --requirement "$tmp/pins"
}

# libraries WHEEL FOLDER unpacks a wheel's shared libraries, without their folders.
libraries() {
  if have unzip; then
    unzip -q -j -o "$1" '*/lib*.so*' -d "$2"
  else
    python3 -c '
import os, shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as z:
    for name in z.namelist():
        base = os.path.basename(name)
        if base.startswith("lib") and ".so" in base:
            with z.open(name) as f, open(os.path.join(sys.argv[2], base), "wb") as out:
                shutil.copyfileobj(f, out)
' "$1" "$2"
  fi
}

# get_gpu puts the CUDA build into $dest, with NVIDIA's libraries if asked for.
get_gpu() {
  [ "$platform" = linux-amd64 ] || die "the CUDA build is pinned for linux-amd64 only; for $platform take it from ONNX Runtime's release page and set VITFT_ORT_LIB"
  main=$(pinned "gpu$cuda" "$platform" wheel | awk '{ print $1 "==" $2 }')
  find_pip || die "pip is needed: install it (Debian: apt-get install python3-pip), or fetch the wheel $main by hand and unpack its lib*.so* into a folder"
  required "gpu$cuda" "$platform" | wheels "$tmp/wheels" || die "could not fetch $main"
  if [ "$gpu" = deps ]; then required "deps$cuda" "$platform" | wheels "$tmp/wheels" || die "could not fetch NVIDIA's wheels"; fi
  mkdir "$tmp/libs"
  for w in "$tmp"/wheels/*.whl; do
    libraries "$w" "$tmp/libs" || die "could not unpack $w"
    rm "$w"
  done
  rm -f "$tmp"/libs/*tensorrt* "$tmp"/libs/libnvblas* "$tmp"/libs/*.alt.*
  chmod 755 "$tmp"/libs/*
  # An older main library would go before the new one, or go with the new provider.
  rm -f "$dest"/libonnxruntime.so*
  mv -f "$tmp"/libs/* "$dest/"
  say "fetched ONNX Runtime ${main#*==} for CUDA $cuda into $dest"
  say "export VITFT_ORT_LIB=$dest"
  say "vitft doctor says whether it works and what is missing"
}

# Each from_ function leaves the checked library at $tmp/lib, or fails with the reason as the last line on stderr.
from_pip() {
  find_pip || return 1
  case $platform in
    linux-amd64) tag=manylinux_2_28_x86_64 ;;
    linux-arm64) tag=manylinux_2_28_aarch64 ;;
    darwin-arm64) tag=macosx_14_0_arm64 ;;
  esac
  $pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --platform "$tag" \
    --implementation cp --python-version 311 --dest "$tmp/pip" "onnxruntime==$version" || return 1
  member="onnxruntime/capi/libonnxruntime.so.$version"
  [ "$name" = libonnxruntime.so ] || member="onnxruntime/capi/libonnxruntime.$version.dylib"
  if have unzip; then
    unzip -p "$tmp"/pip/*.whl "$member" >"$tmp/lib"
  else
    python3 -c 'import sys,zipfile; sys.stdout.buffer.write(zipfile.ZipFile(sys.argv[1]).read(sys.argv[2]))' \
      "$tmp"/pip/*.whl "$member" >"$tmp/lib"
  fi
  check "$tmp/lib" library
}

from_npm() {
  have npm || { echo "no npm" >&2; return 1; }
  case $platform in
    linux-amd64) member=linux/x64/libonnxruntime.so.1 ;;
    linux-arm64) member=linux/arm64/libonnxruntime.so.1 ;;
    darwin-arm64) member=darwin/arm64/libonnxruntime.$version.dylib ;;
  esac
  (cd "$tmp" && npm pack --silent "onnxruntime-node@$version" >/dev/null) || return 1
  tar -xzOf "$tmp/onnxruntime-node-$version.tgz" "package/bin/napi-v6/$member" >"$tmp/lib" && check "$tmp/lib" npm
}

from_release() {
  case $platform in
    linux-amd64) dir=onnxruntime-linux-x64-$version ;;
    linux-arm64) dir=onnxruntime-linux-aarch64-$version ;;
    darwin-arm64) dir=onnxruntime-osx-arm64-$version ;;
  esac
  url=https://github.com/microsoft/onnxruntime/releases/download/v$version/$dir.tgz
  if have curl; then
    curl --fail --silent --show-error --location --connect-timeout 20 --output "$tmp/release.tgz" "$url" || return 1
  elif have wget; then
    wget --quiet --timeout=20 --tries=2 --output-document="$tmp/release.tgz" "$url" || { echo "wget failed" >&2; return 1; }
  else
    echo "no curl, no wget" >&2
    return 1
  fi
  check "$tmp/release.tgz" release || return 1
  member=$dir/lib/libonnxruntime.so.$version
  [ "$name" = libonnxruntime.so ] || member=$dir/lib/libonnxruntime.$version.dylib
  tar -xzOf "$tmp/release.tgz" "$member" >"$tmp/lib"
}

platform=
gpu=
cuda=13
usage='usage: scripts/runtime.sh [--platform OS-ARCH | --gpu | --gpu-deps] [--cuda 12|13] [DEST]'
while [ $# -gt 0 ]; do
  case $1 in
    --gpu) gpu=yes; shift ;;
    --gpu-deps) gpu=deps; shift ;;
    --cuda)
      [ $# -ge 2 ] && [ -n "$(required "gpu$2" linux-amd64)" ] || die "--cuda needs a value: 12 or 13"
      cuda=$2; shift 2 ;;
    --platform) [ $# -ge 2 ] || die "--platform needs a value: linux-amd64, linux-arm64 or darwin-arm64"; platform=$2; shift 2 ;;
    -*) die "unknown option $1; $usage" ;;
    *) break ;;
  esac
done
[ $# -le 1 ] || die "too many arguments; $usage"
if [ "$(uname -s)" = Darwin ]; then cache=${HOME:+$HOME/Library/Caches}; else cache=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}}; fi
[ -n "${1:-$cache}" ] || die "no home folder is set; name the folder to put the library in, and point VITFT_ORT_LIB at it"
dest=${1:-$cache/vitft/lib${gpu:+-gpu}}

local=
if [ -z "$platform" ]; then
  local=yes
  case $(uname -s)-$(uname -m) in
    Linux-x86_64) platform=linux-amd64 ;;
    Linux-aarch64 | Linux-arm64) platform=linux-arm64 ;;
    Darwin-arm64) platform=darwin-arm64 ;;
    *) platform=$(uname -s)-$(uname -m) ;;
  esac
fi
case $platform in
  linux-*) name=libonnxruntime.so ;;
  *) name=libonnxruntime.dylib ;;
esac

[ -z "$local" ] || [ -n "$gpu" ] || use_installed
[ -n "$(pinned cpu "$platform" library)" ] ||
  die "no ONNX Runtime library is pinned for $platform; build or install version 1.$min_minor or later yourself and set VITFT_ORT_LIB to its path"

mkdir -p "$dest"
tmp=$(mktemp -d "$dest/.fetch.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if [ -n "$gpu" ]; then
  get_gpu
  exit 0
fi

for source in pip npm release; do
  if ! "from_$source" 2>"$tmp/log"; then
    note "$source did not give version $version: $(grep -v '^ *$' "$tmp/log" | tail -n 1)"
    continue
  fi
  chmod 755 "$tmp/lib"
  sha256 "$tmp/lib" >"$tmp/sum"
  mv -f "$tmp/sum" "$dest/$name.sha256"
  mv -f "$tmp/lib" "$dest/$name"
  say "fetched ONNX Runtime $version for $platform from $source into $dest/$name"
  exit 0
done
die "could not fetch ONNX Runtime $version: install pip or npm (or let curl reach github.com) and run this again, or set VITFT_ORT_LIB to a libonnxruntime of version 1.$min_minor or later"

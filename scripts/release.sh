#!/usr/bin/env bash
# Builds archives of vitft with the runtime library inside, which run where they are unpacked:
#   scripts/release.sh [OUT] [PLATFORM…]
# OUT (dist/) gets vitft-VERSION-PLATFORM.tar.gz and SHA256SUMS. PLATFORM is linux-amd64, linux-arm64 or darwin-arm64; this
# machine's by default. The library comes through `vitft setup` (VITFT_MIRROR names a mirror, or wheels in a folder).
#
# vitft is built with cgo, so another platform takes a C compiler for it: aarch64-linux-gnu-gcc for linux-arm64 (Debian:
# gcc-aarch64-linux-gnu), or what CC_linux_arm64 names, such as 'zig cc -target aarch64-linux-gnu.2.28'. darwin-arm64 is
# built on a Mac: Apple's SDK is needed. What cannot be built is named, and the exit code is then 1; nothing is installed.
# A build needs the C library of its own machine or a later one, the ONNX Runtime in it glibc 2.28 (Linux) or macOS 14.
# BUILD_FLAGS are those of go build; the tag leaves out a way to Google's stores that is not used (20 MB).
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-dist}
shift || true
here=$(go env GOHOSTOS)-$(go env GOHOSTARCH)
platforms=${*:-$here}
version=$(git describe --tags --always --dirty 2>/dev/null || echo devel)
mkdir -p "$out"
out=$(cd "$out" && pwd)
tmp=$(mktemp -d "$out/.release.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
sha256() { if command -v sha256sum >/dev/null; then sha256sum "$@"; else shasum -a 256 "$@"; fi; }

build() { go build ${BUILD_FLAGS--trimpath -tags disable_grpc_modules} -ldflags '-s -w' -o "$1" ./cmd/vitft; }
build "$tmp/vitft" # which fetches the libraries, too
scripts/notice.sh --texts >"$tmp/NOTICE"
failed=
for platform in $platforms; do
  os=${platform%-*} arch=${platform#*-}
  compiler=CC_${os}_$arch
  compiler=${!compiler:-}
  if [ "$platform" = "$here" ]; then
    compiler=${compiler:-$(go env CC)}
  elif [ -z "$compiler" ] && [ "$platform" = linux-arm64 ]; then
    compiler=aarch64-linux-gnu-gcc
  fi
  if [ -z "$compiler" ] || ! command -v "${compiler%% *}" >/dev/null; then
    echo "release: $platform is not built: there is no C compiler for it here (${compiler:-build it on a machine of its kind}); CC_${os}_$arch may name one" >&2
    failed=yes
    continue
  fi
  name=vitft-$version-$platform
  mkdir -p "$tmp/$name/lib"
  if [ "$platform" = "$here" ]; then
    cp "$tmp/vitft" "$tmp/$name/vitft"
  else
    GOOS=$os GOARCH=$arch CGO_ENABLED=1 CC=$compiler build "$tmp/$name/vitft"
  fi
  "$tmp/vitft" setup --quiet --again --platform "$platform" --out "$tmp/$name/lib" >/dev/null
  for paper in LICENSE ThirdPartyNotices.txt; do
    [ -s "$tmp/$name/lib/onnxruntime-$paper" ] || { echo "release: $platform: ONNX Runtime's $paper is missing; a wheel or the release page's archive has it, the bare library has not" >&2; exit 1; }
  done
  cp LICENSE "$tmp/NOTICE" README.md "$tmp/$name/"
  tar -C "$tmp" -c "$name" | gzip -n >"$tmp/$name.tar.gz"
  mv -f "$tmp/$name.tar.gz" "$out/$name.tar.gz"
  (cd "$out" && sha256 "$name.tar.gz" >>"$tmp/sums")
  echo "release: $out/$name.tar.gz"
done
[ ! -s "$tmp/sums" ] || mv -f "$tmp/sums" "$out/SHA256SUMS"
[ -z "$failed" ]

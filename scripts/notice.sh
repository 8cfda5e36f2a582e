#!/usr/bin/env bash
# Prints NOTICE: what vitft is made of beside its own code, and under which licences. `scripts/notice.sh > NOTICE` after
# a change of go.mod; a test holds the file to it. `--texts` appends every licence in full, to go with executables.
set -euo pipefail
cd "$(dirname "$0")/.."
texts=${1:-}

# The modules that are linked into an executable for Linux or macOS.
modules() {
  for os in linux darwin; do
    GOOS=$os CGO_ENABLED=1 go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./cmd/vitft
  done | sort -u
}

# licence DIR names the licence of a module; what it does not know is an error, so that somebody looks at it.
licence() {
  local all
  all=$(cat "$1"/LICENSE* "$1"/COPYING* 2>/dev/null | tr -s ' \n\t' ' ')
  case $all in
    *'subject to your choice of exactly one of the following two licenses: * The FreeType License'*) echo 'FTL or GPL-2.0-or-later; taken under the FTL' ;;
    *'covered by two different licenses: MIT and Apache'*) echo 'MIT and Apache-2.0' ;;
    *'SIL OPEN FONT LICENSE'*) echo 'BSD-3-Clause, the fonts OFL-1.1' ;;
    *'Creative Commons Attribution 4.0 International'*) echo 'CC-BY-4.0' ;;
    *'Apache License Version 2.0'*) echo 'Apache-2.0' ;;
    *'Permission is hereby granted, free of charge'*) echo 'MIT' ;;
    *'Redistribution and use in source and binary forms'*'Neither the name'* | *'Redistribution and use in source and binary forms'*'names of its contributors may'*) echo 'BSD-3-Clause' ;;
    *'Redistribution and use in source and binary forms'*) echo 'BSD-2-Clause' ;;
    *'Permission to use, copy, modify, and/or distribute this software'*) echo 'ISC' ;;
    *) echo "the licence of $1 is not known to scripts/notice.sh" >&2; return 1 ;;
  esac
}

# holders DIR prints the lines of a module that name who holds the rights, or what its licence asks for.
holders() {
  case $1 in
    */ajstarks/svgo@*) echo 'by Anthony Starks, https://github.com/ajstarks/svgo, unchanged'; return ;;
    */golang/freetype@*) echo 'Portions of this software are copyright (c) The FreeType Project (www.freetype.org). All rights reserved.'; return ;;
  esac
  cat "$1"/LICENSE* "$1"/NOTICE* "$1"/COPYING* 2>/dev/null | tr -d '\r' | sed 's/^[ \t#/*]*//; s/[ \t]*$//' |
    grep -E '^(Copyright|Portions Copyright|Digitized data copyright|Copyright ©)' | grep -Ev '\[|\{|license|notice|[Hh]older' | sort -u || true
}

cat <<'EOF'
vitft
Copyright the vitft authors. Licensed under the Apache License 2.0; see LICENSE.

This file is written by scripts/notice.sh; with --texts it also prints every licence in full, to go with executables.

The embedded model
  models/micro_vit.onnx was trained by this project, without labels, on the training images of Fashion-MNIST (Zalando
  SE, MIT) and of Caltech-101 (F.-F. Li, M. Andreeto, M. Ranzato, P. Perona, CaltechDATA, doi:10.22002/D1.20086,
  CC BY 4.0, cropped, shrunk to 28x28 and in part mirrored). Its weights are under Apache-2.0. models/MODEL_CARD.md has
  how, on what and with which result.

ONNX Runtime
  Copyright (c) Microsoft Corporation, MIT. No part of this repository or of the executable: vitft setup and
  scripts/runtime.sh fetch the library by pinned SHA-256, or one that is installed is loaded at run time; an archive of
  scripts/release.sh has it inside, with its licence. Its own ThirdPartyNotices.txt lists
  what is in it. NVIDIA's libraries, which vitft setup --gpu-deps fetches, are under NVIDIA's licences.

onnx/graph/onnxpb/onnx.proto
  From ONNX 1.23.2, copyright ONNX Project Contributors, Apache-2.0, unchanged; onnx.pb.go is generated from it.

vit/avif/dav1d/dav1d.wasm.gz
  dav1d 1.5.3, copyright 2018-2025 VideoLAN and dav1d authors, BSD-2-Clause (vit/avif/dav1d/COPYING), unchanged, compiled
  to WebAssembly together with wasi-libc (MIT, copyright (c) 2019-2020 the wasi-libc authors, and of musl, copyright
  2005-2020 Rich Felker, et al.).

engine/serve/inferpb/inference.proto
  The part of Triton's gRPC protocol that is answered, by the descriptors in tritonclient 2.73.0, copyright (c) 2020,
  NVIDIA CORPORATION, BSD-3-Clause, whose text it begins with; inference.pb.go and inference_grpc.pb.go are generated
  from it.

The Go standard library and runtime
  Copyright 2009 The Go Authors, BSD-3-Clause.

Go modules in the executable
EOF
modules | while read -r path version dir; do
  echo "  $path $version: $(licence "$dir")"
  holders "$dir" | sed 's/^/    /'
done
[ "$texts" = --texts ] || exit 0
printf '\n==== dav1d 1.5.3, COPYING\n\n' && cat vit/avif/dav1d/COPYING
printf '\n==== engine/serve/inferpb/inference.proto\n\n' && sed '/^$/q' engine/serve/inferpb/inference.proto
modules | while read -r path version dir; do
  for file in "$dir"/LICENSE* "$dir"/NOTICE* "$dir"/COPYING* "$dir"/THIRD_PARTY* "$dir"/licenses/ftl.txt; do
    [ -f "$file" ] || continue
    printf '\n==== %s %s, %s\n\n' "$path" "$version" "${file##*/}"
    cat "$file"
  done
done

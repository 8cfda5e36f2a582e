#!/usr/bin/env bash
# Prints the path of an S3 server for the tests (versitygw, pinned in tools/s3), made at the first call in the user's
# cache folder, or VITFT_S3SERVER if that is set. Prints nothing, and why on standard error, where that is not possible;
# the tests that need it are then skipped by name.
set -eu
[ -z "${VITFT_S3SERVER:-}" ] || { echo "$VITFT_S3SERVER"; exit 0; }
here=$(cd "$(dirname "$0")" && pwd)
dir=${XDG_CACHE_HOME:-$HOME/.cache}/vitft/s3server
if ! cmp -s "$here/../tools/s3/go.sum" "$dir/go.sum"; then
  mkdir -p "$dir"
  (cd "$here/../tools/s3" && go build -o "$dir/versitygw" github.com/versity/versitygw/cmd/versitygw) >&2 ||
    { printf 's3server: it cannot be built; tests against it are skipped\n' >&2; exit 0; }
  cp "$here/../tools/s3/go.sum" "$dir/go.sum"
fi
echo "$dir/versitygw"

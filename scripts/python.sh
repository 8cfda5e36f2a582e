#!/usr/bin/env bash
# Prints a Python with scripts/python-requirements.txt (every package pinned by hash), for the tests alone: VITFT_PYTHON
# if it is set, else a virtual environment in the user's cache folder, made at the first call. Prints nothing, and why on
# standard error, where that is not possible; the tests that need it are then skipped by name.
set -eu
[ -z "${VITFT_PYTHON:-}" ] || { echo "$VITFT_PYTHON"; exit 0; }
here=$(cd "$(dirname "$0")" && pwd)
wanted=$here/python-requirements.txt
dir=${XDG_CACHE_HOME:-$HOME/.cache}/vitft/python
without() { printf 'python: %s; tests against Python are skipped\n' "$1" >&2; exit 0; }
if ! cmp -s "$wanted" "$dir/installed.txt"; then
  command -v python3 >/dev/null || without 'there is no python3'
  rm -rf "$dir"
  python3 -m venv "$dir" >&2 || without 'python3 makes no virtual environment (Debian: apt-get install python3-venv)'
  "$dir/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r "$wanted" >&2 || without 'the packages cannot be installed'
  cp "$wanted" "$dir/installed.txt"
fi
echo "$dir/bin/python"

#!/usr/bin/env bash
# Prints where emulators of Google's and Azure's object stores are for the tests, as variables to export:
#   export $(scripts/emulators.sh)
# They are fake-gcs-server (Go) and Azurite (Node.js), fetched at the first call into the user's cache folder. Of one that
# cannot be it prints why on standard error; the tests that need it are then skipped by name.
set -eu
gcs=v1.56.1 azurite=3.35.0
dir=${XDG_CACHE_HOME:-$HOME/.cache}/vitft/emulators
mkdir -p "$dir"
if [ ! -x "$dir/gcs-$gcs/fake-gcs-server" ]; then
  GOBIN=$dir/gcs-$gcs go install "github.com/fsouza/fake-gcs-server@$gcs" >&2 ||
    printf 'emulators: fake-gcs-server cannot be built; tests against it are skipped\n' >&2
fi
if [ ! -x "$dir/azurite-$azurite/node_modules/.bin/azurite-blob" ]; then
  npm install --silent --no-fund --no-audit --prefix "$dir/azurite-$azurite" "azurite@$azurite" >&2 ||
    printf 'emulators: Azurite cannot be installed (it takes npm); tests against it are skipped\n' >&2
fi
[ ! -x "$dir/gcs-$gcs/fake-gcs-server" ] || echo "VITFT_GCSSERVER=$dir/gcs-$gcs/fake-gcs-server"
[ ! -x "$dir/azurite-$azurite/node_modules/.bin/azurite-blob" ] ||
  echo "VITFT_AZURITE=$dir/azurite-$azurite/node_modules/.bin/azurite-blob"

#!/usr/bin/env bash
# Everything CI runs: build, vet, lint with the layer rules, checks of dependencies, tests, race detector, a short fuzz of
# each parser.
set -euo pipefail
cd "$(dirname "$0")/.."
step() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }
tool="go tool -modfile=tools/go.mod"
pure="./calib/... ./head/... ./vit/... ./models/... ./onnx/graph/... ./onnx/shape/... ./onnx/grad/... ./onnx/vision/... ./engine/dataset/... ./engine/feature/store/... ./engine/feature/bucket/... ./engine/safetensors/... ./engine/inside/... ./engine/sweep/... ./engine/metric/... ./engine/run/... ./engine/setting/... ./engine/library/... ./engine/fault/... ./engine/event/..."

# Before Go 1.27 a target that finds nothing may fail as its time ends (go.dev/issue/75804): with these words, no input.
fuzz() {
  local said
  said=$(go test -run '^$' -fuzz "^$2\$" -fuzztime "${FUZZTIME:-3s}" -fuzzminimizetime 1x -parallel 1 "./$1" 2>&1) ||
    { grep -qx ' *context deadline exceeded' <<< "$said" && ! grep -qi 'failing input' <<< "$said"; } ||
    { printf '%s\n' "$said" >&2; exit 1; }
  tail -1 <<< "$said" | sed 's/^FAIL/time over/'
}

step 'format'
unformatted=$(git ls-files '*.go' | xargs gofmt -l)
[ -z "$unformatted" ] || { echo "not gofmt-ed (make fmt): $unformatted" >&2; exit 1; }
step 'build, with and without cgo'
go build ./...
CGO_ENABLED=0 go build $pure
step 'vet'
go vet ./...
go vet -tags slim ./cmd/vitft
step 'staticcheck'
$tool staticcheck ./...
step 'layer rules'
$tool depguard ./...
step 'dependencies are what go.sum says; known vulnerabilities'
go mod verify
scripts/vulnerabilities.sh
step 'what tests need beside Go: Python, a browser'
VITFT_PYTHON=$(scripts/python.sh)
export VITFT_PYTHON
scripts/chromium.sh
step 'an S3 server for tests'
VITFT_S3SERVER=$(scripts/s3server.sh)
export VITFT_S3SERVER
scripts/axe.sh
step 'tests'
go test -timeout 40m ./...
step 'examples of programs that embed it'
(cd examples/service && go vet . && go test .)
step 'manifests for Kubernetes'
(cd deploy/kubernetes && go vet . && go test .)
step 'race detector on what runs concurrently'
go test -race -timeout 20m -short ./engine/classify
go test -race -timeout 20m -short ./models ./vit ./onnx ./engine/feature/... ./engine/dataset ./engine/serve
step 'a short fuzz of each parser'
export -f fuzz
for dir in $(git grep -l '^func Fuzz' -- '*_test.go' | xargs -n1 dirname | sort -u); do
  grep -ho '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | sed "s#^func#$dir#"
done | xargs -P "$(getconf _NPROCESSORS_ONLN)" -L 1 bash -c 'fuzz "$@"' fuzz
step 'done'

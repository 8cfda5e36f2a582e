# The four targets people use; everything they need is fetched by scripts/.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -eu -o pipefail -c
VITFT := bin/vitft
TOOLS := go tool -modfile=tools/go.mod

.PHONY: help setup build demo test bench fmt
help:
	@echo 'make setup  fetch the runtime library (pinned, checked)'
	@echo 'make build  bin/vitft'
	@echo 'make demo   setup, then fine-tune the embedded ViT on long-tailed Fashion-MNIST: CE, CVS, and inside the ViT'
	@echo 'make test   setup, then everything CI runs'
	@echo 'make bench  the benchmarks'

setup:
	@command -v go >/dev/null || { echo 'Go 1.26 or newer is needed: https://go.dev/dl' >&2; exit 1; }
	@command -v $${CC:-cc} >/dev/null || command -v gcc >/dev/null || { echo 'A C compiler is needed (Debian: apt-get install gcc libc6-dev; macOS: xcode-select --install)' >&2; exit 1; }
	@scripts/runtime.sh

build:
	@go build -trimpath -o $(VITFT) ./cmd/vitft

demo: setup build
	@scripts/demo.sh

test: setup
	@scripts/test.sh

bench: setup
	@go test -run '^$$' -bench . -benchtime 1s ./...

fmt:
	@gofmt -w $$(git ls-files '*.go')

# What can be done here. Every target installs what it needs by itself. Only
# `gen` and `fmt` change files that git knows.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# A tool is built again when its pinned version or Go itself changes.
TOOLS := buf golangci-lint protoc-gen-go protoc-gen-go-grpc protoc-gen-grpc-gateway protoc-gen-openapiv2
PINNED := $(shell { go env GOVERSION; cat tools/go.mod tools/go.sum; } | cksum | cut -d ' ' -f 1)
tool = .bin/.$(1)-$(PINNED)

# Debian packages that the tests use as real parts, as command:package.
PACKAGES := redis-server:redis-server curl:curl node:nodejs npm:npm

FUZZTIME ?= 30s
BENCH ?= .
BENCHTIME ?= 1s
PKG ?= ./...

.PHONY: help
help: ## Show this list.
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: ## Build and start the example shop behind the gateway; prints routes and curl lines.
	go run ./examples/demo

.PHONY: test
test: packages web ## Run all tests. PKG=./router/... runs a part.
	go test $(PKG)

.PHONY: web
web: packages clients/web/node_modules/.package-lock.json ## Install what the browser client's tests need.

clients/web/node_modules/.package-lock.json: clients/web/package-lock.json
	@echo "installing the npm packages of clients/web"
	@cd clients/web && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

.PHONY: race
race: packages web ## Run the tests of the packages where concurrency lives under the race detector.
	.ci/race

.PHONY: verdicts
verdicts: ## Ask every door the same questions, print the table: do all verdicts agree?
	@table=$$(mktemp) && trap 'rm -f "$$table"' EXIT && status=0; \
	go test -count=1 -run '^TestSameVerdicts$$' ./internal/verdicts -table "$$table" || status=$$?; \
	cat "$$table"; exit $$status

.PHONY: lint
lint: $(call tool,golangci-lint) $(call tool,buf) imports ## Check Go and protos: style, format, breaking changes.
	.bin/golangci-lint run ./...
	.bin/buf lint proto
	.bin/buf format --diff --exit-code proto
	.ci/breaking

.PHONY: fmt
fmt: $(call tool,golangci-lint) $(call tool,buf) imports ## Format Go and protos in place.
	.bin/golangci-lint fmt ./...
	.bin/buf format --write proto

.PHONY: gen
gen: generated ## Generate code and reference docs from the protos (offline), in place.
	.ci/generated --write

.PHONY: check-gen
check-gen: generated ## Fail if what is committed differs from what `gen` would write.
	.ci/generated --check

.PHONY: bench
bench: peers ## Measure the gateway beside its peers: bench.json, docs/benchmarks.md (12 min).
	cd bench && go run . -json ../bench.json -markdown ../docs/benchmarks.md

.PHONY: bench-quick
bench-quick: peers ## The same in under three minutes; writes bench.json only.
	cd bench && go run . -quick -json ../bench.json

.PHONY: microbench
microbench: packages ## Run the Go benchmarks. BENCH=regexp PKG=./router/... BENCHTIME=1s choose.
	go test -run '^$$' -bench '$(BENCH)' -benchmem -benchtime $(BENCHTIME) $(PKG)

.PHONY: peers
peers:
	@.ci/packages nginx:nginx-light haproxy:haproxy

.PHONY: faults
faults: ## Kill, freeze, slow and break backend processes under 1,000 calls/s; a table of what clients noticed (1 min).
	go run ./internal/faults

.PHONY: fuzz
fuzz: ## Run every fuzz target, FUZZTIME=30s each; PKG=./router/... runs a part.
	.ci/fuzz $(FUZZTIME) $(PKG)

.PHONY: tools
tools: $(foreach t,$(TOOLS),$(call tool,$(t))) ## Build the pinned tools into .bin.

.PHONY: packages
packages: ## Install the Debian packages that tests need, if missing.
	@.ci/packages $(PACKAGES)

# A stamp names the tool and the version that .bin holds of it.
.bin/.%-$(PINNED): tools/go.mod tools/go.sum
	@mkdir -p .bin
	@echo "building .bin/$*, once for this version"
	@path=$$(cd tools && go list tool | grep -x -e '.*/$*') && go build -C tools -o ../.bin/$* "$$path"
	@rm -f .bin/.$*-[0-9]*
	@touch $@

# The protos that ours import, as text, from the descriptors of pinned modules.
.PHONY: imports
imports:
	@go run ./internal/tools/exportprotos .cache/imports

# What `gen` writes, first written beside: gen replaces, check-gen compares.
.PHONY: generated
generated: imports $(foreach t,$(filter-out golangci-lint,$(TOOLS)),$(call tool,$(t)))
	@rm -rf .cache/generated
	@.bin/buf generate -o .cache/generated
	@.bin/buf generate --template buf.gen.oracle.yaml -o .cache/generated
	@.bin/buf generate transcoder/codec/internal/testpb --template buf.gen.tests.yaml -o .cache/generated

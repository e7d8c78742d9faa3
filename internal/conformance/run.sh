#!/bin/sh
# Runs the conformance suite against the doors; see README.md.
set -eu
cd "$(dirname "$0")/../.."
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
go build -o "$bin/" ./internal/conformance
(cd internal/tools/conformance && go build -o "$bin/" \
	connectrpc.com/conformance/cmd/connectconformance connectrpc.com/conformance/cmd/referenceserver)
protos=$(cd internal/tools/conformance && go list -m -f '{{.Dir}}' connectrpc.com/conformance)/proto
"$bin/connectconformance" --mode server --conf internal/conformance/config.yaml "$@" -- \
	"$bin/conformance" "$protos" "$bin/referenceserver"

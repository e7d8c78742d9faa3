#!/bin/sh
# Writes the Go code of the test protos beside them. Run from the root of the
# repository, with buf and protoc-gen-go in .bin.
set -eu
here=transcoder/codec/internal/testpb
PATH="$PWD/.bin:$PATH" .bin/buf generate "$here" --output "$here" --template \
	'{"version":"v2","plugins":[{"local":"protoc-gen-go","out":".","opt":"paths=source_relative"}]}'

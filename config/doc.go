// Package config reads the operator's file: YAML or JSON against the protobuf
// schema transom.config.v1, with flags on top and defaults below.
//
// It stands beside the way of a request: only gateway sees what it returns,
// and hands each room its own part. A file is checked whole, and every mistake
// is reported at once with its file, line and column; what is returned without
// an error can be built, as far as that can be known without building it.
//
// It must not open a connection, know a room, or accept a field that nothing
// honors.
package config

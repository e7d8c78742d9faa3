// Configdoc writes the reference of the configuration file, and the JSON
// Schema by which editors complete and check it, from the protos:
//
//	go run ./internal/tools/configdoc [-proto DIR] [-out DIR]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
)

func main() {
	protos := flag.String("proto", "proto", "folder of the .proto files")
	out := flag.String("out", "docs", "folder to write to")
	flag.Parse()
	if err := run(*protos, *out); err != nil {
		fmt.Fprintln(os.Stderr, "configdoc:", err)
		os.Exit(1)
	}
}

func run(protos, out string) error {
	c, err := readComments(context.Background(), protos)
	if err != nil {
		return err
	}
	root := (*configv1.Config)(nil).ProtoReflect().Descriptor()
	reference, err := markdown(root, c)
	if err != nil {
		return err
	}
	schema, err := jsonSchema(root, c)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(out, "config.md"), reference, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "config.schema.json"), schema, 0o644)
}

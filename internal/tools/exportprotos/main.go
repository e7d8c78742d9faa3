// Exportprotos writes the .proto files that our protos import, as text, into a
// folder that git ignores, for buf and editors:
//
//	go run ./internal/tools/exportprotos [DIR [PACKAGE]...]
//
// DIR is .cache/imports by default. transom/policy is left out, unless named:
// in this repository its source is next door, in proto/.
package main

import (
	"fmt"
	"os"

	"github.com/transomhq/transom/schema/builtin"
)

func main() {
	dir := ".cache/imports"
	packages := []string{"buf.validate", "google.api", "google.longrunning", "google.rpc", "google.type", "grpc.gateway", "validate"}
	if len(os.Args) > 1 {
		dir = os.Args[1]
	}
	if len(os.Args) > 2 {
		packages = os.Args[2:]
	}
	if err := builtin.Export(dir, packages...); err != nil {
		fmt.Fprintln(os.Stderr, "exportprotos:", err)
		os.Exit(1)
	}
}

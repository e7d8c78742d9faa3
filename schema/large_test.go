package schema

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// large is the text of a set with that many methods in 100 files.
func large(methods int) map[string]string {
	files := map[string]string{}
	for i := range 100 {
		var b strings.Builder
		fmt.Fprintf(&b, "syntax = \"proto3\";\npackage p%d.v1;\nimport \"google/api/annotations.proto\";\nimport \"google/protobuf/timestamp.proto\";\n", i)
		for m := range methods / 100 {
			if m%20 == 0 {
				if m > 0 {
					b.WriteString("}\n")
				}
				fmt.Fprintf(&b, "// A service.\nservice S%d {\n", m/20)
			}
			fmt.Fprintf(&b, "  // A method.\n  rpc M%d(R) returns (R) { option (google.api.http) = {get: \"/v1/p%d/{name=s%d/*}\" additional_bindings {post: \"/v1/p%d/{sub.id}:m%d\" body: \"*\"}}; }\n", m, i, m, i, m)
		}
		b.WriteString("}\nmessage R { string name = 1; Sub sub = 2; google.protobuf.Timestamp at = 3; repeated string tags = 4; map<string, Sub> m = 5; }\nmessage Sub { string id = 1; int64 n = 2; }\n")
		files[fmt.Sprintf("p%d/v1/p.proto", i)] = b.String()
	}
	return files
}

func BenchmarkLoad10000Methods(b *testing.B) {
	dir := b.TempDir()
	for name, text := range large(10_000) {
		write(b, filepath.Join(dir, name), text)
	}
	file := filepath.Join(b.TempDir(), "large.binpb")
	write(b, file, string(marshal(b, image(b, dir))))
	for _, source := range []string{dir, file} {
		b.Run(filepath.Ext(source), func(b *testing.B) {
			for b.Loop() {
				before := heap()
				s, err := Load(context.Background(), Options{Sources: []string{source}})
				if err != nil || len(s.Methods) != 10_000 || len(s.Bindings) != 20_000 {
					b.Fatal(err)
				}
				b.StopTimer()
				b.ReportMetric(float64(heap()-before)/(1<<20), "MiB/snapshot")
				b.StartTimer()
				runtime.KeepAlive(s)
			}
		})
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

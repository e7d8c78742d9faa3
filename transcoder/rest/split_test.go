package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"google.golang.org/grpc/mem"
)

// cut returns what a splitter makes of text.
func cut(src io.Reader, list, lines bool) ([]string, error) {
	s := splitter{src: src, pool: mem.DefaultBufferPool(), limit: 1 << 20, list: list, lines: lines}
	defer s.close()
	var all []string
	for {
		v, err := s.next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return all, err
		}
		all = append(all, string(v))
	}
}

// However a text arrives, it is cut in the same way; and a text of valid JSON
// values is cut into those that encoding/json finds.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{`{"a":1}{"b":"}\""}`, "1 2\n[3]", `[{"a":[1,2]},"x"]`, "[]", "[1,]", `"a`, "{\"a\":\n1}", "[1]x", "tru,e]"} {
		f.Add(s, false, false)
		f.Add(s, true, false)
		f.Add(s, false, true)
	}
	f.Fuzz(func(t *testing.T, text string, list, lines bool) {
		if len(text) > 4096 {
			return
		}
		want, wantErr := cut(strings.NewReader(text), list, lines)
		got, err := cut(iotest.OneByteReader(strings.NewReader(text)), list, lines)
		if strings.Join(got, "\x00") != strings.Join(want, "\x00") || !errors.Is(err, wantErr) {
			t.Fatalf("in one piece %q, %v; byte by byte %q, %v", want, wantErr, got, err)
		}
		if list || lines {
			return
		}
		dec := json.NewDecoder(strings.NewReader(text))
		var all []string
		for {
			var v json.RawMessage
			if err := dec.Decode(&v); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return // whoever reads the values says so, too
			}
			all = append(all, string(bytes.TrimSpace(v)))
		}
		// encoding/json separates some scalars that stand side by side, which
		// is not JSON text that anybody sends.
		if strings.Join(all, "") == strings.Join(want, "") {
			return
		}
		t.Fatalf("cut into %q, want %q", want, all)
	})
}

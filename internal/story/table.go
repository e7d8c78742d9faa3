package story

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// arrow parts what a client sends from what comes of it.
const arrow = " -> "

// table runs a table: many requests, each a line with what comes of it.
func table(t *testing.T, f *txtar.File, b *backend, addr string) {
	var header [][2]string
	var out strings.Builder
	for n, line := range strings.Split(strings.TrimSuffix(string(f.Data), "\n"), "\n") {
		if name, value, ok := strings.Cut(line, ": "); ok && strings.HasPrefix(line, "+") {
			header = append(header, [2]string{strings.TrimSpace(name[1:]), value})
		}
		if line == "" || strings.ContainsAny(line[:1], "+#") {
			out.WriteString(line + "\n")
			continue
		}
		left, want, _ := strings.Cut(line, arrow)
		req, err := parseLine(strings.TrimRight(left, " "), header)
		if err != nil {
			t.Fatalf("line %d: %v", n+1, err)
		}
		got := outcome(t, req, b, addr, true)
		out.WriteString(strings.TrimRight(left, " ") + arrow + got + "\n")
		if update() {
			continue
		}
		for i, proto := range []string{"HTTP/1.1", "HTTP/2"} {
			if i > 0 {
				if got = outcome(t, req, b, addr, false); got == "" {
					continue
				}
			}
			if plain(got) != plain(want) {
				t.Errorf("line %d, %s:\n     %s\nwant %s\ngot  %s", n+1, proto, left, want, got)
			}
		}
	}
	if update() {
		f.Data = []byte(out.String())
	}
}

// plain is text without the spaces that protobuf-go varies from run to run, so
// that nobody compares its errors.
func plain(text string) string { return strings.ReplaceAll(text, "\u00a0", " ") }

// parseLine reads "METHOD TARGET BODY"; the body is what remains of the line.
func parseLine(line string, header [][2]string) (*request, error) {
	parts := strings.SplitN(line, " ", 3)
	if len(parts) < 2 {
		return nil, fmt.Errorf("%q is no request", line)
	}
	r := &request{method: parts[0], target: parts[1], header: header}
	if len(parts) < 3 {
		return r, nil
	}
	return r, r.setBody(strings.ReplaceAll(strings.Replace(parts[2], " | ", "\n", 1), `\n`, "\n"))
}

// outcome sends r and says what came of it: the call that the backend saw, or
// the refusal. It is "" when r cannot be said in HTTP/2.
func outcome(t *testing.T, r *request, b *backend, addr string, http1 bool) string {
	a, err := parseAnswer("", b.schema)
	if err != nil {
		t.Fatal(err)
	}
	b.expect(a)
	var got *reply
	if http1 {
		got = r.http1(t, addr)
	} else if other, ok := r.http2(t, addr); ok {
		got = other
	} else {
		return ""
	}
	if s := b.last(); s != nil {
		return call(s, got)
	}
	return refusal(r, got)
}

// call describes a call that reached the backend as METHOD MESSAGE.
func call(s *seen, got *reply) string {
	name := s.method[strings.LastIndexByte(s.method, '/')+1:]
	text := s.json
	if v, ok := decode(text); ok {
		if out, err := json.Marshal(v); err == nil {
			text = string(out)
		}
	}
	if got.status != http.StatusOK {
		return fmt.Sprintf("%s %s, but the client got %d", name, text, got.status)
	}
	return name + " " + text
}

// refusal describes an error as STATUS [fields] text. Its form must be right:
// JSON of a google.rpc.Status.
func refusal(r *request, got *reply) string {
	if r.method == http.MethodHead || len(got.body) == 0 {
		return fmt.Sprint(got.status, allow(got))
	}
	var st struct {
		Code    int
		Message string
		Details []struct {
			FieldViolations []struct{ Field, Description string }
		}
	}
	if media := got.header.Get("Content-Type"); media != "application/json" {
		return fmt.Sprintf("%d as %s", got.status, media)
	}
	if err := json.Unmarshal(got.body, &st); err != nil || st.Code == 0 {
		return fmt.Sprintf("%d, but its body is no error: %s", got.status, got.body)
	}
	var fields []string
	for _, d := range st.Details {
		for _, v := range d.FieldViolations {
			fields = append(fields, v.Field)
		}
	}
	text := fmt.Sprint(got.status, allow(got), " ")
	if len(fields) > 0 {
		text += fmt.Sprint(slices.Compact(fields), " ")
	}
	return text + strings.ReplaceAll(st.Message, "\n", `\n`)
}

func allow(got *reply) string {
	if v := got.header.Get("Allow"); v != "" {
		return " (Allow: " + v + ")"
	}
	return ""
}

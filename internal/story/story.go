package story

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/tools/txtar"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
)

// Setup is what a story asks of the gateway that it runs through.
type Setup struct {
	T testing.TB
	// Schema is the story's protos.
	Schema *Schema
	// Backend is the address of the gRPC server behind the gateway.
	Backend string
	// Profile is "strict", "grpc-gateway" or "envoy".
	Profile string
	// Rest is the policy of every method, nil for none.
	Rest *policyv1.Rest
	// Config are more lines of configuration, as JSON members by name.
	Config map[string]json.RawMessage
}

// Run runs every story of dir as a subtest, each through a gateway that open
// starts for it. open returns the gateway's address, and registers with T what
// must be closed.
func Run(t *testing.T, dir string, open func(Setup) (addr string)) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no stories in %s (%v)", dir, err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) { runFile(t, name, open) })
	}
}

// update reports whether expectations are to be rewritten.
func update() bool {
	f := flag.Lookup("update")
	return f != nil && f.Value.String() == "true"
}

func runFile(t *testing.T, name string, open func(Setup) string) {
	archive, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	setup, err := prepare(t, filepath.Dir(name), archive)
	if err != nil {
		t.Fatal(err)
	}
	b := startBackend(t, setup.Schema)
	setup.Backend = b.addr
	addr := open(setup)
	for i := range archive.Files {
		if f := &archive.Files[i]; f.Name == "table" {
			t.Run("table", func(t *testing.T) { table(t, f, b, addr) })
		}
	}
	for n, e := range exchanges(archive) {
		t.Run(strconv.Itoa(n+1), func(t *testing.T) { e.run(t, b, addr) })
	}
	if update() {
		if err := os.WriteFile(name, txtar.Format(archive), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func prepare(t *testing.T, dir string, archive *txtar.Archive) (Setup, error) {
	setup := Setup{T: t, Profile: "strict"}
	sources := map[string]string{}
	for _, f := range archive.Files {
		switch {
		case strings.HasSuffix(f.Name, ".proto"):
			sources[f.Name] = string(f.Data)
		case f.Name == "setup":
			if err := setup.read(string(f.Data)); err != nil {
				return setup, err
			}
		}
	}
	if len(sources) == 0 {
		base, err := os.ReadFile(filepath.Join(dir, "base.proto"))
		if err != nil {
			return setup, err
		}
		sources["base.proto"] = string(base)
	}
	setup.Schema = Compile(t, sources)
	return setup, nil
}

func (s *Setup) read(text string) error {
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "":
		case "profile":
			s.Profile = value
		case "config":
			if err := json.Unmarshal([]byte(value), &s.Config); err != nil {
				return err
			}
		case "rest":
			s.Rest = &policyv1.Rest{}
			if err := protojson.Unmarshal([]byte(value), s.Rest); err != nil {
				return err
			}
		default:
			return fmt.Errorf("setup: unknown line %q", line)
		}
	}
	return nil
}

// exchange is one request of a story with what belongs to it.
type exchange struct {
	request, answer string
	seen, response  *txtar.File
}

func exchanges(archive *txtar.Archive) []*exchange {
	var all []*exchange
	for i := range archive.Files {
		f := &archive.Files[i]
		if f.Name == "request" {
			all = append(all, &exchange{request: string(f.Data)})
			continue
		}
		if len(all) == 0 {
			continue
		}
		e := all[len(all)-1]
		switch f.Name {
		case "answer":
			e.answer = string(f.Data)
		case "seen":
			e.seen = f
		case "response":
			e.response = f
		}
	}
	return all
}

func (e *exchange) run(t *testing.T, b *backend, addr string) {
	req, err := parseRequest(e.request)
	if err != nil {
		t.Fatal(err)
	}
	a, err := parseAnswer(e.answer, b.schema)
	if err != nil {
		t.Fatal(err)
	}
	b.expect(a)
	got := req.http1(t, addr)
	if update() {
		e.rewrite(b, got)
		return
	}
	e.compare(t, "HTTP/1.1", b, got)
	b.expect(a)
	if got, ok := req.http2(t, addr); ok {
		e.compare(t, "HTTP/2", b, got)
	}
}

func (e *exchange) rewrite(b *backend, got *reply) {
	if e.seen != nil {
		e.seen.Data = []byte(b.last().describe(nil))
	}
	if e.response != nil {
		e.response.Data = []byte(got.describe())
	}
}

func (e *exchange) compare(t *testing.T, proto string, b *backend, got *reply) {
	t.Helper()
	if e.seen != nil {
		if diff := compareSeen(string(e.seen.Data), b.last()); diff != "" {
			t.Errorf("%s: the backend saw something else: %s", proto, diff)
		}
	}
	if e.response != nil {
		if err := got.matches(string(e.response.Data)); err != nil {
			t.Errorf("%s: %v\nwhole response:\n%s", proto, err, got.describe())
		}
	}
}

func compareSeen(want string, s *seen) string {
	if s == nil || strings.TrimSpace(want) == "nothing" {
		if got := s.describe(nil); strings.TrimSpace(want) != strings.TrimSpace(got) {
			return fmt.Sprintf("want\n%s\ngot\n%s", want, got)
		}
		return ""
	}
	head, message, _ := strings.Cut(want, "\n\n")
	names := map[string]bool{}
	for i, line := range strings.Split(head, "\n") {
		if key, _, ok := strings.Cut(line, ":"); ok && i > 0 {
			names[key] = true
		}
	}
	gotHead, gotMessage, _ := strings.Cut(s.describe(names), "\n\n")
	if strings.TrimSpace(head) != strings.TrimSpace(gotHead) || !same(message, gotMessage) {
		return fmt.Sprintf("want\n%s\ngot\n%s", want, s.describe(names))
	}
	return ""
}

// same compares two texts, as JSON where they are that.
func same(a, b string) bool {
	x, okX := decode(a)
	y, okY := decode(b)
	if okX && okY {
		return reflect.DeepEqual(x, y)
	}
	return strings.TrimSuffix(a, "\n") == strings.TrimSuffix(b, "\n")
}

func decode(text string) (any, bool) {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil {
		return nil, false
	}
	_, err := dec.Token()
	return v, errors.Is(err, io.EOF)
}

// matches compares a reply with a response section.
func (r *reply) matches(want string) error {
	head, body, _ := strings.Cut(want, "\n\n")
	lines := strings.Split(strings.TrimSpace(head), "\n")
	if code := strconv.Itoa(r.status); lines[0] != code {
		return fmt.Errorf("status is %s, want %s", code, lines[0])
	}
	fields := map[string][]string{}
	for _, line := range lines[1:] {
		if name, ok := strings.CutPrefix(line, "!"); ok {
			if v := r.header.Values(name); len(v) > 0 {
				return fmt.Errorf("header %s is %q, want none", name, v)
			}
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		fields[name] = append(fields[name], strings.TrimPrefix(value, " "))
	}
	for name, values := range fields {
		got := r.header.Values(name)
		if trailer, ok := strings.CutPrefix(name, "trailer "); ok {
			got = r.trailer.Values(trailer)
		}
		if !slices.Equal(got, values) {
			return fmt.Errorf("%s is %q, want %q", name, got, values)
		}
	}
	if !same(body, r.text()) {
		return errors.New("body differs; want:\n" + body)
	}
	return nil
}

// text returns the body for a section: JSON laid out, other bytes as base64.
func (r *reply) text() string {
	if strings.Contains(r.header.Get("Content-Type"), "json") {
		return indent(string(r.body))
	}
	if utf8.Valid(r.body) && !bytes.ContainsAny(r.body, "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x0b\x0e\x0f\x10\x11\x12\r") && !bytes.HasPrefix(r.body, []byte("@")) {
		return string(r.body)
	}
	return "@base64 " + base64.StdEncoding.EncodeToString(r.body)
}

// describe writes the reply as a response section.
func (r *reply) describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d\n", r.status)
	names := slices.Collect(maps.Keys(r.header))
	sort.Strings(names)
	for _, name := range names {
		switch name {
		case "Date", "Connection", "Content-Length", "X-Content-Type-Options", "X-Request-Id":
			continue
		}
		for _, v := range r.header[name] {
			fmt.Fprintf(&b, "%s: %s\n", name, v)
		}
	}
	names = slices.Collect(maps.Keys(r.trailer))
	sort.Strings(names)
	for _, name := range names {
		for _, v := range r.trailer[name] {
			fmt.Fprintf(&b, "trailer %s: %s\n", name, v)
		}
	}
	b.WriteString("\n" + r.text())
	if !strings.HasSuffix(b.String(), "\n") {
		b.WriteByte('\n')
	}
	return b.String()
}

// detailTypes resolves the story's types first, then those linked in.
type detailTypes struct {
	own protoregistry.MessageTypeResolver
}

func (d detailTypes) FindMessageByName(name protoreflect.FullName) (protoreflect.MessageType, error) {
	if m, err := d.own.FindMessageByName(name); err == nil {
		return m, nil
	}
	return protoregistry.GlobalTypes.FindMessageByName(name)
}

func (d detailTypes) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	if m, err := d.own.FindMessageByURL(url); err == nil {
		return m, nil
	}
	return protoregistry.GlobalTypes.FindMessageByURL(url)
}

func (d detailTypes) FindExtensionByName(name protoreflect.FullName) (protoreflect.ExtensionType, error) {
	return protoregistry.GlobalTypes.FindExtensionByName(name)
}

func (d detailTypes) FindExtensionByNumber(message protoreflect.FullName, field protoreflect.FieldNumber) (protoreflect.ExtensionType, error) {
	return protoregistry.GlobalTypes.FindExtensionByNumber(message, field)
}

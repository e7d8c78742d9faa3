package direct

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/transomhq/transom/transcoder/codec"
)

// TestRandomSchemas compiles schemas that nobody wrote and compares the codecs
// on random messages of them: plans are tried, not only data.
func TestRandomSchemas(t *testing.T) {
	schemas := 25
	if testing.Short() {
		schemas = 5
	}
	for seed := range schemas {
		rng := rand.New(rand.NewPCG(uint64(seed), 11))
		source := randomSchema(rng)
		compiler := protocompile.Compiler{Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{
			Accessor: protocompile.SourceAccessorFromMap(map[string]string{"s.proto": source}),
		})}
		files, err := compiler.Compile(context.Background(), "s.proto")
		if err != nil {
			t.Fatalf("%v\n%s", err, source)
		}
		file, err := protodesc.NewFile(protodesc.ToFileDescriptorProto(files[0]), protoregistry.GlobalFiles)
		if err != nil {
			t.Fatal(err)
		}
		c := New()
		styles := styles()
		for i := range file.Messages().Len() {
			d := file.Messages().Get(i)
			for n := range 3 {
				p := newPair(t, c, codec.Root{Message: d}, styles[(seed+i+n*5)%len(styles)])
				if err := tryBoth(rng, p, d); err != nil {
					t.Fatalf("seed %d %s %+v\n%v\n%s", seed, d.Name(), p.opts, err, source)
				}
			}
		}
	}
}

func tryBoth(rng *rand.Rand, p *pair, d protoreflect.MessageDescriptor) error {
	for range 8 {
		wire := randomWire(rng, d)
		for range 3 {
			if err := p.out(wire); err != nil {
				return fmt.Errorf("%x: %w", wire, err)
			}
			wire = tear(rng, wire, d, 2)
		}
		text := randomJSON(rng, d)
		for range 3 {
			if err := p.in(text); err != nil {
				return fmt.Errorf("%s: %w", text, err)
			}
			text = damage(rng, text)
		}
	}
	return nil
}

// randomSchema is a file of five messages that refer to each other.
func randomSchema(rng *rand.Rand) string {
	heads := []string{`syntax = "proto3";`, `syntax = "proto2";`, `edition = "2023";`}
	kind := rng.IntN(3)
	var b strings.Builder
	fmt.Fprintln(&b, heads[kind])
	for _, name := range []string{"any", "duration", "empty", "field_mask", "struct", "timestamp", "wrappers"} {
		fmt.Fprintf(&b, "import \"google/protobuf/%s.proto\";\n", name)
	}
	fmt.Fprintln(&b, "package random;\nenum E { A = 0; B = 1; C = -5; D = 900; }")
	for i := range 5 {
		fmt.Fprintf(&b, "message M%d {\n", i)
		s := schemaFields{rng: rng, kind: kind, used: map[int]bool{}}
		for range rng.IntN(1 + [...]int{3, 12, 40, 90, 8}[rng.IntN(5)]) {
			s.field(&b, "  ")
		}
		for o := range rng.IntN(3) {
			fmt.Fprintf(&b, "  oneof o%d {\n", o)
			for range 1 + rng.IntN(5) {
				s.member(&b)
			}
			fmt.Fprintln(&b, "  }")
		}
		fmt.Fprintln(&b, "}")
	}
	return b.String()
}

type schemaFields struct {
	rng  *rand.Rand
	kind int // proto3, proto2, editions
	n    int
	used map[int]bool
}

func (s *schemaFields) number() int {
	for {
		n := 1 + s.rng.IntN([...]int{15, 200, 3000, 536870911}[s.rng.IntN(4)])
		if !s.used[n] && (n < 19000 || n > 19999) {
			s.used[n] = true
			return n
		}
	}
}

func (s *schemaFields) name() string {
	s.n++
	return fmt.Sprintf([...]string{"f%d", "foo_bar_%d", "a_b%d", "X%d", "long_name_of_a_field_that_does_not_fit_%d"}[s.rng.IntN(5)], s.n)
}

var scalarTypes = []string{"bool", "int32", "sint32", "sfixed32", "uint32", "fixed32", "int64", "sint64", "sfixed64", "uint64", "fixed64", "float", "double", "string", "bytes", "E"}

func (s *schemaFields) typ() string {
	switch s.rng.IntN(5) {
	case 0:
		return fmt.Sprintf("M%d", s.rng.IntN(5))
	case 1:
		known := []string{"Any", "Duration", "Empty", "FieldMask", "Struct", "Value", "ListValue", "NullValue", "Timestamp", "BoolValue", "Int32Value", "Int64Value", "UInt32Value", "UInt64Value", "FloatValue", "DoubleValue", "StringValue", "BytesValue"}
		return "google.protobuf." + known[s.rng.IntN(len(known))]
	}
	return scalarTypes[s.rng.IntN(len(scalarTypes))]
}

func (s *schemaFields) member(b *strings.Builder) {
	fmt.Fprintf(b, "    %s %s = %d;\n", s.typ(), s.name(), s.number())
}

func (s *schemaFields) field(b *strings.Builder, in string) {
	typ, options := s.typ(), ""
	packable := typ != "string" && typ != "bytes" && !strings.HasPrefix(typ, "M") && !strings.Contains(typ, ".")
	message := strings.HasPrefix(typ, "M") || strings.Contains(typ, ".") && !strings.HasSuffix(typ, "NullValue")
	label := [...][]string{{"", "optional ", "repeated "}, {"optional ", "optional ", "repeated "}, {"", "", "repeated "}}[s.kind][s.rng.IntN(3)]
	if s.rng.IntN(6) == 0 {
		key := [...]string{"string", "int32", "bool", "uint64", "sint64", "fixed32", "sfixed64"}[s.rng.IntN(7)]
		fmt.Fprintf(b, "%smap<%s, %s> %s = %d;\n", in, key, typ, s.name(), s.number())
		return
	}
	switch {
	case s.kind < 2 && label == "repeated " && packable && s.rng.IntN(2) == 0:
		options = fmt.Sprintf(" [packed = %v]", s.rng.IntN(2) == 0)
	case s.kind == 2 && label == "repeated " && packable && s.rng.IntN(2) == 0:
		options = " [features.repeated_field_encoding = EXPANDED]"
	case s.kind == 2 && message && s.rng.IntN(2) == 0:
		options = " [features.message_encoding = DELIMITED]"
	case s.kind == 2 && label == "" && !message && s.rng.IntN(2) == 0:
		options = " [features.field_presence = IMPLICIT]"
	case s.kind == 2 && typ == "string" && s.rng.IntN(2) == 0:
		options = " [features.utf8_validation = NONE]"
	case s.rng.IntN(10) == 0:
		options = fmt.Sprintf(` [json_name = "j\"%d"]`, s.n)
	}
	fmt.Fprintf(b, "%s%s%s %s = %d%s;\n", in, label, typ, s.name(), s.number(), options)
}

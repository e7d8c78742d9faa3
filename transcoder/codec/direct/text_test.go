package direct

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/transomhq/transom/transcoder/codec"
)

// FuzzIn compares the codecs on JSON texts: given ones, those of random
// messages in all styles, and both after damage.
func FuzzIn(f *testing.F) {
	c := New()
	var pairs []*pair
	for _, m := range testMessages() {
		for _, discard := range []bool{false, true} {
			pairs = append(pairs, newPair(f, c, codec.Root{Message: m.ProtoReflect().Descriptor()}, codec.Options{DiscardUnknown: discard}))
		}
	}
	for i, s := range texts() {
		if i%3 == 0 {
			f.Add([]byte("{"+s+"}"), uint64(i))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 2))
		p := pairs[seed%uint64(len(pairs))]
		for _, text := range [][]byte{data, randomJSON(rng, p.root.Message)} {
			for range 3 {
				if err := p.in(text); err != nil {
					t.Fatalf("%s %+v %q\n\t%v", p.root.Message.Name(), p.opts, text, err)
				}
				text = damage(rng, text)
			}
		}
	})
}

// TestDamaged runs what FuzzIn does for a while.
func TestDamaged(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	c := New()
	for _, m := range testMessages() {
		for _, discard := range []bool{false, true} {
			p := newPair(t, c, codec.Root{Message: m.ProtoReflect().Descriptor()}, codec.Options{DiscardUnknown: discard})
			for range 60 {
				text := randomJSON(rng, p.root.Message)
				for range 6 {
					if err := p.in(text); err != nil {
						t.Fatalf("%T %v %q\n\t%v", m, discard, text, err)
					}
					text = damage(rng, text)
				}
			}
		}
	}
}

// randomJSON is a random message in a random style.
func randomJSON(rng *rand.Rand, d protoreflect.MessageDescriptor) []byte {
	for {
		m := dynamicpb.NewMessage(d)
		budget := 40
		fill(rng, m, 3, &budget)
		text, err := protojson.MarshalOptions{
			AllowPartial: true, EmitUnpopulated: rng.IntN(4) == 0, UseProtoNames: rng.IntN(2) == 0,
			UseEnumNumbers: rng.IntN(3) == 0, Multiline: rng.IntN(4) == 0,
		}.Marshal(m)
		if err == nil {
			return text
		}
	}
}

var tokens = []string{
	`{`, `}`, `[`, `]`, `,`, `:`, `"`, `\`, ` `, "\n", `null`, `true`, `false`, `0`, `-`, `1e`, `1e9`, `.5`, `"a":`, `"@type":`, `"value":`, `"@type":"x/transom.codectest.v1.Leaf",`,
	`"\u0041"`, `\ud800`, `\ud83d\ude00`, "\xff", "\x00", "\x7f", "é", `"NaN"`, `""`, `{}`, `[]`, `"unknown":{"a":[1]},`, `"NOPE"`, `99999999999`, `-0`, `[transom.codectest.v1.ext_string]`, `"1s"`,
}

// damage inserts, deletes, repeats or swaps a few pieces.
func damage(rng *rand.Rand, text []byte) []byte {
	out := bytes.Clone(text)
	for range 1 + rng.IntN(2) {
		if len(out) == 0 {
			return out
		}
		i := rng.IntN(len(out))
		j := min(len(out), i+rng.IntN(12))
		switch rng.IntN(5) {
		case 0:
			out = append(out[:i:i], append([]byte(tokens[rng.IntN(len(tokens))]), out[i:]...)...)
		case 1:
			out = append(out[:i:i], out[j:]...)
		case 2:
			out = append(out[:j:j], out[i:]...)
		case 3:
			out = append(out[:i:i], append([]byte(tokens[rng.IntN(len(tokens))]), out[j:]...)...)
		default:
			out[i] ^= 1 << rng.IntN(7)
		}
	}
	return out
}

// TestFieldRoots compares the codecs on every field of Everything as a root.
func TestFieldRoots(t *testing.T) {
	c := New()
	rng := rand.New(rand.NewPCG(5, 6))
	values := []string{`null`, `{}`, `[]`, `""`, `0`, `"x"`, `[1]`, `[{}]`, `{"a":{}}`, `true`, `["a"]`, `{"1":1}`, ``, `1} ,{`, `"1s"`, `{"unknown":1}`, ` 1 `, `1 2`, `[null]`}
	for _, m := range testMessages() {
		fields := m.ProtoReflect().Descriptor().Fields()
		for i := range fields.Len() {
			for n, opts := range []codec.Options{{}, {EmitUnpopulated: true, UseProtoNames: true}, {Int64AsNumber: true, Indent: 2}} {
				p := newPair(t, c, codec.Root{Message: m.ProtoReflect().Descriptor(), Field: fields.Get(i)}, opts)
				for _, text := range values {
					if err := p.in([]byte(text)); n == 0 && err != nil {
						t.Errorf("%s %s: %v", fields.Get(i).FullName(), text, err)
					}
				}
				if err := p.outTolerant(nil); err != nil {
					t.Fatalf("%s of nothing: %v", fields.Get(i).FullName(), err)
				}
				for range 6 {
					wire := randomWire(rng, p.root.Message)
					for range 2 {
						if err := p.outTolerant(wire); err != nil {
							t.Fatalf("%s %x: %v", fields.Get(i).FullName(), wire, err)
						}
						wire = tear(rng, wire, p.root.Message, 0)
					}
				}
			}
		}
	}
}

// outTolerant is out for a field root: the reference decodes the whole message,
// the direct codec looks at the field only.
func (p *pair) outTolerant(wire []byte) error {
	if _, err := p.oracle.AppendJSON(nil, wire); err != nil {
		if _, err := p.fast.AppendJSON(nil, wire); err != nil {
			_, err = kindOf(err)
			return err
		}
		return nil
	}
	return p.out(wire)
}

// TestFixedPoint: JSON to wire to JSON again changes nothing but the order.
func TestFixedPoint(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	for _, m := range testMessages() {
		plan, err := New().Compile(codec.Root{Message: m.ProtoReflect().Descriptor()}, codec.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			text, err := plan.AppendJSON(nil, randomWire(rng, m.ProtoReflect().Descriptor()))
			if err != nil {
				continue
			}
			wire, err := plan.AppendWire(nil, text)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			again, err := plan.AppendJSON(nil, wire)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if bytes.Contains(text, []byte(`Null":null`)) {
				continue // a NullValue of 5 is null, too, and comes back as 0
			}
			if err := sameJSON(again, text); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestErrorPositions asserts where and what, in the words of a client.
func TestErrorPositions(t *testing.T) {
	plan, err := New().Compile(codec.Root{Message: everything()}, codec.Options{MaxDepth: 5})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ text, want string }{
		{``, `line 1, column 1 (/): unexpected end of the text, want an object`},
		{`{"fInt32": "x"}`, `line 1, column 12 (/fInt32): invalid int32 value "x"`},
		{"{\n  \"rLeaf\": [{}, {\"nope\": 1}]}", `line 2, column 18 (/rLeaf/1/nope): unknown field "nope"`},
		{`{"mString": {"a/b": 5}}`, `line 1, column 21 (/mString/a~1b): invalid string value 5`},
		{`{"mInt32": {"1": 2, "01": 3}}`, `line 1, column 21 (/mInt32/01): duplicate map key "01"`},
		{`{"fBool": true, "f_bool": true}`, `line 1, column 17 (/f_bool): duplicate field "f_bool"`},
		{`{"fString": "a\ud800"}`, `line 1, column 15 (/fString): invalid escape in a string`},
		{`{"fMode": "NOPE"}`, `line 1, column 11 (/fMode): enum Mode has no value "NOPE"`},
		{`{"fSub":{"fSub":{"fSub":{"fSub":{"fSub":{}}}}}}`, `line 1, column 41 (/fSub/fSub/fSub/fSub/fSub): nested more than 5 deep`},
		{`{"cInt32": 1, "cString": "x"}`, `line 1, column 15 (/cString): a field of oneof choice is set already, and "cString" is another`},
		{`{"rInt32": [1, 2`, `line 1, column 17 (/rInt32/1): unexpected end of the text, want ',' or ']'`},
		{`{} {}`, `line 1, column 4 (/): unexpected { after the value`},
		{`{"wAny": {"@type": "x/no.Such"}}`, `line 1, column 20 (/wAny/@type): unable to resolve the type "x/no.Such"`},
		{`{"wTime": "2020-13-01T00:00:00Z"}`, `line 1, column 11 (/wTime): invalid google.protobuf.Timestamp value "2020-13-01T00:00:00Z"`},
	} {
		_, err := plan.AppendWire(nil, []byte(tc.text))
		if err == nil || err.Error() != tc.want {
			t.Errorf("%s\n got %v\nwant %s", tc.text, err, tc.want)
		}
	}
	_, err = plan.AppendJSON(nil, wrap(68, wrap(93, append(wrap(1, []byte("k/")), wrap(2, wrap(141, []byte{8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}))...))))
	if want := `/rSub/0/mSub/k~1/wTime: google.protobuf.Timestamp: seconds out of range 72057594037927935`; err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

// TestLimits: what a client can grow is bounded.
func TestLimits(t *testing.T) {
	c := New()
	for _, tc := range []struct {
		name string
		opts codec.Options
		text string
		want codec.Kind // -1: none
	}{
		{"depth", codec.Options{}, strings.Repeat(`{"fSub":`, 100) + `null` + strings.Repeat(`}`, 100), -1},
		{"depth", codec.Options{}, strings.Repeat(`{"fSub":`, 101) + `null` + strings.Repeat(`}`, 101), codec.TooLarge},
		{"depth of a value", codec.Options{}, `{"wValue":` + strings.Repeat(`[`, 99) + strings.Repeat(`]`, 99) + `}`, -1},
		{"depth of a value", codec.Options{}, `{"wValue":` + strings.Repeat(`[`, 100) + strings.Repeat(`]`, 100) + `}`, codec.TooLarge},
		{"depth of the unknown", codec.Options{DiscardUnknown: true}, `{"x":` + strings.Repeat(`[`, 100) + strings.Repeat(`]`, 100) + `}`, codec.TooLarge},
		{"depth of any", codec.Options{}, `{"wAny":` + strings.Repeat(`{"@type":"x/google.protobuf.Any","value":`, 1000) + `{}` + strings.Repeat(`}`, 1001), -1},
		{"output", codec.Options{MaxOutput: 10}, `{"fString":"012345678"}`, codec.TooLarge},
		{"output", codec.Options{MaxOutput: 11}, `{"fString":"012345678"}`, -1},
	} {
		plan, err := c.Compile(codec.Root{Message: everything()}, tc.opts)
		if err != nil {
			t.Fatal(err)
		}
		_, err = plan.AppendWire(nil, []byte(tc.text))
		if kind, bad := kindOf(err); bad != nil || kind != tc.want {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	plan, err := c.Compile(codec.Root{Message: everything()}, codec.Options{EmitUnpopulated: true, MaxOutput: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	out, err := plan.AppendJSON(nil, bytes.Repeat(wrap(68, nil), 30000))
	if kind, _ := kindOf(err); kind != codec.TooLarge {
		t.Errorf("amplified to %d bytes: %v", len(out), err)
	}
}

// TestIndent is json.Indent's work.
func TestIndent(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		var compact, want bytes.Buffer
		if err := json.Compact(&compact, randomJSON(rng, everything())); err != nil {
			t.Fatal(err)
		}
		if err := json.Indent(&want, compact.Bytes(), "", "  "); err != nil {
			t.Fatal(err)
		}
		if got := indent(nil, compact.Bytes(), 2); !bytes.Equal(got, want.Bytes()) {
			t.Fatalf("got %s\nwant %s", got, want.Bytes())
		}
	}
}

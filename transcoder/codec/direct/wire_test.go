package direct

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/transomhq/transom/transcoder/codec"
	"github.com/transomhq/transom/transcoder/codec/internal/testpb"
)

// styles is the matrix of output options.
func styles() []codec.Options {
	var all []codec.Options
	for bits := range 16 {
		all = append(all, codec.Options{
			EmitUnpopulated: bits&1 != 0, UseProtoNames: bits&2 != 0, UseEnumNumbers: bits&4 != 0, Int64AsNumber: bits&8 != 0,
		})
	}
	return append(all, codec.Options{Indent: 2}, codec.Options{EmitUnpopulated: true, Indent: 4})
}

func testMessages() []protoreflect.ProtoMessage {
	return []protoreflect.ProtoMessage{&testpb.Everything{}, &testpb.Legacy{}, &testpb.Modern{}, &testpb.Wide{}, &testpb.Strict{}, &testpb.Order{}}
}

// wires are the wire forms of the accepted texts.
func wires(t testing.TB, p *pair) [][]byte {
	t.Helper()
	var all [][]byte
	for _, text := range texts() {
		if b, err := p.oracle.AppendWire(nil, []byte("{"+text+"}")); err == nil {
			all = append(all, b)
		}
	}
	return all
}

func TestWires(t *testing.T) {
	c := New()
	all := wires(t, newPair(t, c, codec.Root{Message: everything()}, codec.Options{}))
	for n, opts := range styles() {
		p := newPair(t, c, codec.Root{Message: everything()}, opts)
		for i, b := range all {
			if n > 1 && i%17 != n%17 {
				continue // two styles see all, the others a part
			}
			other := all[(i*7+3)%len(all)]
			for _, wire := range [][]byte{
				b, append(append([]byte{}, b...), other...), wrap(17, b), append(wrap(17, b), wrap(17, other)...), append(wrap(68, b), wrap(68, other)...),
				append(wrap(93, append(wrap(2, b), wrap(2, other)...)), wrap(93, wrap(2, b))...), append(wrap(119, b), wrap(119, other)...), anyOf("x/transom.codectest.v1.Everything", b),
			} {
				if err := p.out(wire); err != nil {
					t.Fatalf("%+v %x\n\t%v", opts, wire, err)
				}
			}
		}
	}
}

func wrap(num protowire.Number, b []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), b)
}

func anyOf(url string, b []byte) []byte {
	return wrap(144, append(wrap(1, []byte(url)), wrap(2, b)...))
}

// FuzzOut compares the codecs on wire bytes: random messages, torn, shuffled
// and merged.
func FuzzOut(f *testing.F) {
	c := New()
	var pairs []*pair
	for _, m := range testMessages() {
		for _, opts := range styles() {
			pairs = append(pairs, newPair(f, c, codec.Root{Message: m.ProtoReflect().Descriptor()}, opts))
		}
	}
	for i, b := range wires(f, pairs[0]) {
		if i%5 == 0 {
			f.Add(b, uint64(i))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 1))
		p := pairs[seed%uint64(len(pairs))]
		for _, wire := range [][]byte{data, randomWire(rng, p.root.Message)} {
			for range 3 {
				if err := p.out(wire); err != nil {
					t.Fatalf("%s %+v %x\n\t%v", p.root.Message.Name(), p.opts, wire, err)
				}
				wire = tear(rng, wire, p.root.Message, 3)
			}
		}
	})
}

// TestShuffled runs what FuzzOut does for a while.
func TestShuffled(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	c := New()
	for _, m := range testMessages() {
		for _, opts := range styles() {
			p := newPair(t, c, codec.Root{Message: m.ProtoReflect().Descriptor()}, opts)
			for range 12 {
				wire := randomWire(rng, p.root.Message)
				for range 3 {
					if err := p.out(wire); err != nil {
						t.Fatalf("%T %+v %x\n\t%v", m, opts, wire, err)
					}
					wire = tear(rng, wire, p.root.Message, 3)
				}
			}
		}
	}
}

// randomWire is the wire form of a random message.
func randomWire(rng *rand.Rand, d protoreflect.MessageDescriptor) []byte {
	m := dynamicpb.NewMessage(d)
	budget := 60
	fill(rng, m, 3, &budget)
	b, err := proto.MarshalOptions{AllowPartial: true, Deterministic: true}.Marshal(m)
	if err != nil {
		panic(fmt.Sprint("a random message does not marshal: ", err))
	}
	return b
}

// tear moves, repeats, splits and damages fields, and does the same inside of some.
func tear(rng *rand.Rand, b []byte, d protoreflect.MessageDescriptor, depth int) []byte {
	var fields [][]byte
	for rest := b; len(rest) > 0; {
		num, typ, n := protowire.ConsumeField(rest)
		if n < 0 {
			return b
		}
		field := rest[:n]
		rest = rest[n:]
		fd := d.Fields().ByNumber(num)
		if fd != nil && fd.Message() != nil && typ == protowire.BytesType && depth > 0 && rng.IntN(2) == 0 {
			_, _, tag := protowire.ConsumeTag(field)
			body, _ := protowire.ConsumeBytes(field[tag:])
			body = tear(rng, body, fd.Message(), depth-1)
			if cut := cutAtField(rng, body); fd.Cardinality() != protoreflect.Repeated && rng.IntN(2) == 0 {
				fields = append(fields, wrap(num, body[:cut]))
				body = body[cut:]
			}
			field = wrap(num, body)
		}
		fields = append(fields, field)
		if rng.IntN(6) == 0 {
			fields = append(fields, field)
		}
	}
	if rng.IntN(2) == 0 {
		rng.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
	}
	var out []byte
	for _, field := range fields {
		out = append(out, field...)
	}
	if rng.IntN(8) == 0 {
		out = append(out, 0xf8, 0x3f, 1) // an unknown field
	}
	if len(out) > 0 && rng.IntN(30) == 0 {
		out[rng.IntN(len(out))] ^= 1 << rng.IntN(8)
	}
	return out
}

// cutAtField is an offset between two fields.
func cutAtField(rng *rand.Rand, b []byte) int {
	at := 0
	for at < len(b) && rng.IntN(3) > 0 {
		_, _, n := protowire.ConsumeField(b[at:])
		if n < 0 {
			return at
		}
		at += n
	}
	return at
}

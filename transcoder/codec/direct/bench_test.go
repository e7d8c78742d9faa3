package direct

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/transomhq/transom/transcoder/codec"
	"github.com/transomhq/transom/transcoder/codec/internal/testpb"
)

// load is many different messages of one type, to be had in turn: branch
// predictors learn a single message by heart.
type load struct {
	name  string
	typ   protoreflect.Message
	wires [][]byte
	texts [][]byte
	bytes int64 // of all texts
}

func newLoad(name string, n int, build func(*rand.Rand) proto.Message, edit func(*rand.Rand, []byte) []byte) *load {
	rng := rand.New(rand.NewPCG(1, 2))
	l := &load{name: name}
	for range n {
		m := build(rng)
		l.typ = m.ProtoReflect()
		wire, err := proto.Marshal(m)
		if err != nil {
			panic(err)
		}
		plan, err := New().Compile(codec.Root{Message: l.typ.Descriptor()}, codec.Options{})
		if err != nil {
			panic(err)
		}
		text, err := plan.AppendJSON(nil, wire)
		if err != nil {
			panic(err)
		}
		if edit != nil {
			text = edit(rng, text)
		}
		l.wires, l.texts = append(l.wires, wire), append(l.texts, text)
		l.bytes += int64(len(text))
	}
	return l
}

func words(rng *rand.Rand, n int, alphabet string) string {
	letters := []rune(alphabet)
	var b strings.Builder
	for i := range n {
		if i > 0 && rng.IntN(6) == 0 {
			b.WriteByte(' ')
		} else {
			b.WriteRune(letters[rng.IntN(len(letters))])
		}
	}
	return b.String()
}

const ascii = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

func randomItem(rng *rand.Rand, alphabet string) *testpb.Item {
	return &testpb.Item{
		Id: fmt.Sprintf("item-%08d", rng.IntN(1e8)), Title: words(rng, 10+rng.IntN(30), alphabet),
		Quantity: rng.Int64N(1e6), Price: float64(rng.IntN(1e6)) / 100, InStock: rng.IntN(2) == 0,
		Mode:    testpb.Mode(rng.IntN(3)),
		Updated: &timestamppb.Timestamp{Seconds: 1.6e9 + rng.Int64N(2e8), Nanos: int32(rng.IntN(1000)) * 1e6},
		Tags:    []string{words(rng, 3+rng.IntN(8), alphabet), words(rng, 3+rng.IntN(8), alphabet)}[:rng.IntN(3)],
	}
}

func randomAddress(rng *rand.Rand) *testpb.Address {
	return &testpb.Address{
		Street: words(rng, 10+rng.IntN(20), ascii), City: words(rng, 5+rng.IntN(10), ascii), Zip: fmt.Sprint(10000 + rng.IntN(80000)),
		Country: "DE", Latitude: float32(rng.IntN(18000))/100 - 90, Longitude: float32(rng.IntN(36000))/100 - 180,
	}
}

func randomOrder(rng *rand.Rand) proto.Message {
	o := &testpb.Order{
		Id: fmt.Sprintf("order-%08d", rng.IntN(1e8)), CustomerId: words(rng, 16, ascii), Billing: randomAddress(rng), Shipping: randomAddress(rng),
		Labels: map[string]string{}, Created: timestamppb.New(time.Unix(1.6e9+rng.Int64N(2e8), 0)), Total: float64(rng.IntN(1e7)) / 100, Mode: testpb.Mode_MODE_ON,
		Note: words(rng, rng.IntN(60), ascii),
	}
	for range 1 + rng.IntN(3) {
		o.Items = append(o.Items, randomItem(rng, ascii))
	}
	for range rng.IntN(4) {
		o.Labels[words(rng, 6, ascii)] = words(rng, 10, ascii)
	}
	if rng.IntN(2) == 0 {
		o.Payment = &testpb.Order_Invoice{Invoice: rng.Int64()}
	} else {
		o.Payment = &testpb.Order_Card{Card: words(rng, 16, "0123456789")}
	}
	return o
}

func itemList(n int, alphabet string) func(*rand.Rand) proto.Message {
	return func(rng *rand.Rand) proto.Message {
		l := &testpb.ItemList{NextPageToken: "next", Total: 500}
		for range n {
			l.Items = append(l.Items, randomItem(rng, alphabet))
		}
		return l
	}
}

// loads are what issue and budget speak of, then the worst cases.
func loads() []*load {
	item := func(rng *rand.Rand) proto.Message { return randomItem(rng, ascii) }
	return []*load{
		newLoad("200B", 1024, item, nil),
		newLoad("1KB", 1024, randomOrder, nil),
		newLoad("100KB", 16, itemList(520, ascii), nil),
		newLoad("shuffled", 1024, randomOrder, shuffleMembers),
		newLoad("indented", 1024, randomOrder, func(_ *rand.Rand, b []byte) []byte { return indent(nil, b, 2) }),
		newLoad("nonascii", 64, itemList(50, "éàüßñøčžłαβγδжщю漢字😀"), nil),
		newLoad("map", 16, func(rng *rand.Rand) proto.Message {
			o := &testpb.Order{Labels: map[string]string{}}
			for range 1000 {
				o.Labels[words(rng, 12, ascii)] = words(rng, 10, ascii)
			}
			return o
		}, nil),
		newLoad("deep", 16, func(rng *rand.Rand) proto.Message {
			v := structpb.NewStringValue("x")
			for range 90 {
				v = structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{v}})
			}
			return v
		}, nil),
		newLoad("struct", 256, func(rng *rand.Rand) proto.Message {
			s := &structpb.Struct{Fields: map[string]*structpb.Value{}}
			for range 20 {
				s.Fields[words(rng, 8, ascii)] = structpb.NewNumberValue(float64(rng.IntN(1000)))
				s.Fields[words(rng, 8, ascii)] = structpb.NewStringValue(words(rng, 12, ascii))
			}
			return s
		}, nil),
		newLoad("floats", 64, func(rng *rand.Rand) proto.Message {
			m := &testpb.Everything{}
			for range 200 {
				m.RDouble = append(m.RDouble, rng.Float64())
				m.RInt64 = append(m.RInt64, rng.Int64())
			}
			return m
		}, nil),
	}
}

// shuffleMembers puts the members of the outermost object in another order
// for each text.
func shuffleMembers(rng *rand.Rand, text []byte) []byte {
	var members []string
	depth, start := 0, 1
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			for i++; text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case c == '{' || c == '[':
			depth++
		case depth == 0 && (c == ',' || c == '}'):
			members = append(members, string(text[start:i]))
			start = i + 1
		case c == '}' || c == ']':
			depth--
		}
	}
	rng.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	for i, m := range members {
		if at := strings.Index(m, ":{"); at > 0 && strings.HasSuffix(m, "}") && !strings.Contains(m, "[") {
			members[i] = m[:at+1] + string(shuffleMembers(rng, []byte(m[at+1:])))
		}
	}
	return []byte("{" + strings.Join(members, ",") + "}")
}

func BenchmarkIn(b *testing.B) {
	for _, l := range loads() {
		plan, err := New().Compile(codec.Root{Message: l.typ.Descriptor()}, codec.Options{})
		if err != nil {
			b.Fatal(err)
		}
		dst := make([]byte, 0, 1<<20)
		l.run(b, "direct", l.texts, func(text []byte) error {
			_, err := plan.AppendWire(dst, text)
			return err
		})
		through := func(m func() proto.Message) func([]byte) error {
			return func(text []byte) error {
				m := m()
				if err := protojson.Unmarshal(text, m); err != nil {
					return err
				}
				_, err := proto.MarshalOptions{}.MarshalAppend(dst, m)
				return err
			}
		}
		l.run(b, "generated", l.texts, through(func() proto.Message { return l.typ.New().Interface() }))
		dynamic := dynamicpb.NewMessageType(l.typ.Descriptor())
		l.run(b, "dynamic", l.texts, through(func() proto.Message { return dynamic.New().Interface() }))
	}
}

func BenchmarkOut(b *testing.B) {
	for _, unpopulated := range []bool{false, true} {
		for _, l := range loads() {
			plan, err := New().Compile(codec.Root{Message: l.typ.Descriptor()}, codec.Options{EmitUnpopulated: unpopulated})
			if err != nil {
				b.Fatal(err)
			}
			name := ""
			if unpopulated {
				name = "-emit"
			}
			dst := make([]byte, 0, 1<<20)
			l.run(b, "direct"+name, l.wires, func(wire []byte) error {
				_, err := plan.AppendJSON(dst, wire)
				return err
			})
			through := func(m func() proto.Message) func([]byte) error {
				opts := protojson.MarshalOptions{EmitUnpopulated: unpopulated}
				return func(wire []byte) error {
					m := m()
					if err := proto.Unmarshal(wire, m); err != nil {
						return err
					}
					_, err := opts.MarshalAppend(dst, m)
					return err
				}
			}
			l.run(b, "generated"+name, l.wires, through(func() proto.Message { return l.typ.New().Interface() }))
			dynamic := dynamicpb.NewMessageType(l.typ.Descriptor())
			l.run(b, "dynamic"+name, l.wires, through(func() proto.Message { return dynamic.New().Interface() }))
		}
	}
}

// run measures f on the inputs in turn.
func (l *load) run(b *testing.B, name string, inputs [][]byte, f func([]byte) error) {
	b.Run(l.name+"/"+name, func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(l.bytes / int64(len(l.texts)))
		for i := 0; b.Loop(); i++ {
			if err := f(inputs[i%len(inputs)]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestNoAllocations: beyond the output buffer a call takes no memory.
func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("with the race detector pools drop what they are given")
	}
	for _, l := range loads() {
		plan, err := New().Compile(codec.Root{Message: l.typ.Descriptor()}, codec.Options{EmitUnpopulated: true})
		if err != nil {
			t.Fatal(err)
		}
		dst := make([]byte, 0, 1<<20)
		for name, f := range map[string]func(){
			"in":  func() { _, _ = plan.AppendWire(dst, l.texts[0]) },
			"out": func() { _, _ = plan.AppendJSON(dst, l.wires[0]) },
		} {
			if n := testing.AllocsPerRun(100, f); n != 0 {
				t.Errorf("%s %s: %v allocations", l.name, name, n)
			}
		}
	}
}

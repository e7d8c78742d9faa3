package rest_test

import (
	"encoding/base64"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/transcoder/rest"
)

// teller makes random messages and says them as a query.
type teller struct {
	*rand.Rand
	pairs []string
}

// A message said as a query, in any order and spelling, is that message.
func TestQueryIsTheMessage(t *testing.T) {
	w := newWorld(t, rest.Options{})
	var match rpc.Match
	if err := w.table.Match("GET", "/v1/search", &match); err != nil {
		t.Fatal(err)
	}
	desc := match.Binding.Method.Desc.Input()
	for seed := range uint64(1500) {
		g := &teller{Rand: rand.New(rand.NewPCG(seed, 7))}
		want := dynamicpb.NewMessage(desc)
		g.fill(want, "", 0)
		query := strings.Join(g.pairs, "&")
		var got protoreflect.Message
		w.handle = func(call *rpc.Call, req *rpc.Message) (*rpc.Message, error) {
			var err error
			if got, err = decode(req); err != nil {
				return nil, err
			}
			return rpc.NewMessage(call.Method.Desc.Output()), nil
		}
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, request("GET", "/v1/search", query, "", nil))
		if rec.Code != 200 || !proto.Equal(want, got.Interface()) {
			t.Fatalf("seed %d: ?%s\n%d %s\nwant %v\ngot  %v", seed, query, rec.Code, rec.Body, want, got)
		}
	}
}

// fill sets random fields of m, whose names start with prefix.
func (g *teller) fill(m protoreflect.Message, prefix string, depth int) {
	oneofs := map[protoreflect.OneofDescriptor]bool{}
	fields := m.Descriptor().Fields()
	for _, i := range g.Perm(fields.Len()) {
		fd := fields.Get(i)
		if g.IntN(3) > 0 || fd.IsList() && fd.Message() != nil || oneofs[fd.ContainingOneof()] && fd.ContainingOneof() != nil {
			continue
		}
		oneofs[fd.ContainingOneof()] = true
		at := prefix + []string{string(fd.Name()), fd.JSONName()}[g.IntN(2)]
		switch {
		case fd.IsList():
			for range 1 + g.IntN(3) {
				v, text := g.scalar(fd)
				m.Mutable(fd).List().Append(v)
				g.tell(at, text)
			}
		case fd.IsMap():
			for range 1 + g.IntN(3) {
				k, key := g.scalar(fd.MapKey())
				v, text := g.scalar(fd.MapValue())
				if m.Get(fd).Map().Has(k.MapKey()) {
					continue
				}
				m.Mutable(fd).Map().Set(k.MapKey(), v)
				g.tell(at+"["+key+"]", text)
			}
		case fd.Message() == nil:
			v, text := g.scalar(fd)
			m.Set(fd, v)
			g.tell(at, text)
		default:
			g.message(m, fd, at, depth)
		}
	}
}

func (g *teller) message(m protoreflect.Message, fd protoreflect.FieldDescriptor, at string, depth int) {
	texts := map[protoreflect.FullName][]string{
		"google.protobuf.Timestamp":   {"2026-01-02T03:04:05Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "1969-12-31T23:59:59.5+05:30"},
		"google.protobuf.Duration":    {"1.5s", "-0.000000001s", "315576000000s", "0s"},
		"google.protobuf.FieldMask":   {"a", "displayName,sub.a", ""},
		"google.protobuf.Int64Value":  {"5", "-9223372036854775808", "0"},
		"google.protobuf.StringValue": {"a b&c", "", "null"},
		"google.protobuf.Struct":      {`{}`, `{"a": [1, null, {"b": "c"}]}`},
		"google.protobuf.Value":       {`null`, `1.5`, `"a"`, `[]`, `{"a": true}`},
	}[fd.Message().FullName()]
	if texts == nil {
		before := len(g.pairs)
		inner := dynamicpb.NewMessage(fd.Message())
		if depth < 3 {
			g.fill(inner, at+".", depth+1)
		}
		if len(g.pairs) > before { // an empty message cannot be said
			m.Set(fd, protoreflect.ValueOfMessage(inner))
		}
		return
	}
	text := texts[g.IntN(len(texts))]
	inner := dynamicpb.NewMessage(fd.Message())
	source := text
	if !strings.HasSuffix(string(fd.Message().FullName()), "Struct") && !strings.HasSuffix(string(fd.Message().FullName()), ".Value") {
		source = strconv.Quote(text)
	}
	if err := protojson.Unmarshal([]byte(source), inner); err != nil {
		panic(err)
	}
	m.Set(fd, protoreflect.ValueOfMessage(inner))
	g.tell(at, text)
}

// tell adds a parameter, with more of it escaped than must be.
func (g *teller) tell(name, text string) {
	escape := func(s string) string {
		s = url.QueryEscape(s)
		if g.IntN(2) == 0 {
			s = strings.ReplaceAll(strings.ReplaceAll(s, "a", "%61"), "+", "%20")
		}
		return s
	}
	g.pairs = append(g.pairs, escape(name)+"="+escape(text))
}

// scalar returns a value of fd and a text for it.
func (g *teller) scalar(fd protoreflect.FieldDescriptor) (protoreflect.Value, string) {
	signed := []int64{0, 1, -1, math.MaxInt32, math.MinInt32}
	wide := append(signed, math.MaxInt64, math.MinInt64)
	unsigned := []uint64{0, 1, math.MaxUint32}
	switch fd.Kind() {
	case protoreflect.BoolKind:
		v := g.IntN(2) == 0
		return protoreflect.ValueOfBool(v), strconv.FormatBool(v)
	case protoreflect.EnumKind:
		v := protoreflect.EnumNumber(g.IntN(4))
		if d := fd.Enum().Values().ByNumber(v); d != nil && g.IntN(2) == 0 {
			return protoreflect.ValueOfEnum(v), string(d.Name())
		}
		return protoreflect.ValueOfEnum(v), strconv.Itoa(int(v))
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		v := signed[g.IntN(len(signed))]
		return protoreflect.ValueOfInt32(int32(v)), g.spell(fmt.Sprint(v))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		v := wide[g.IntN(len(wide))]
		return protoreflect.ValueOfInt64(v), g.spell(fmt.Sprint(v))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		v := unsigned[g.IntN(len(unsigned))]
		return protoreflect.ValueOfUint32(uint32(v)), g.spell(fmt.Sprint(v))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		v := append(unsigned, math.MaxUint64)[g.IntN(len(unsigned)+1)]
		return protoreflect.ValueOfUint64(v), g.spell(fmt.Sprint(v))
	case protoreflect.FloatKind:
		v := []float32{0, 1.5, -1e30, float32(math.Inf(1)), math.SmallestNonzeroFloat32}[g.IntN(5)]
		return protoreflect.ValueOfFloat32(v), strings.Replace(strconv.FormatFloat(float64(v), 'g', -1, 32), "+Inf", "Infinity", 1)
	case protoreflect.DoubleKind:
		v := []float64{0, 1.5, -1e300, math.Inf(-1), math.SmallestNonzeroFloat64}[g.IntN(5)]
		return protoreflect.ValueOfFloat64(v), strings.Replace(strconv.FormatFloat(v, 'g', -1, 64), "-Inf", "-Infinity", 1)
	case protoreflect.BytesKind:
		v := []byte{byte(g.IntN(256)), 0xfb, 0xff}[:g.IntN(4)]
		return protoreflect.ValueOfBytes(v), []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding}[g.IntN(4)].EncodeToString(v)
	}
	v := []string{"", "a", "a b", "a+b&c=d;e%zz", "é✓\x00\n", "]["}[g.IntN(6)]
	return protoreflect.ValueOfString(v), v
}

// spell writes an integer in another way at times.
func (g *teller) spell(digits string) string {
	if digits == "0" {
		return digits
	}
	return digits + []string{"", ".0", "0e-1", "e+00"}[g.IntN(4)]
}

package oracle

import (
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	catalogv1 "github.com/transomhq/transom/gen/shop/catalog/v1"
)

const maxDepth = 3

// random makes everything from one seed.
type random struct{ *rand.Rand }

func pick[T any](r random, from ...T) T { return from[r.IntN(len(from))] }

// chance is true in n of 100 cases.
func (r random) chance(n int) bool { return r.IntN(100) < n }

func (r random) text() string {
	return pick(r, "", "a", "teapot", "two words", "Grüße", "日本語", "a/b", "a:b", "50%", "a+b", "q&a=b", "{}", "\"quoted\"", "back\\slash", "line\nbreak",
		"😀", "null", "true", "12", ".", "..", "~x", "a;b", "a,b", "#", "<&>\u2028")
}

// word is a text that is never empty and fits a path segment without surprises.
func (r random) word() string {
	return pick(r, "teapot", "o-1001", "c-7", "x", "A.b_c~d", "2026-11-21", "Grüße", "a b", "a+b", "a@b", "(x)", "日本", "42", "a,b", "a=b", "a&b", "'q'", "$1", "!", "a;b", "*")
}

func (r random) int32() int32 {
	return pick(r, 0, 1, -1, 7, 100, math.MaxInt32, math.MinInt32, r.Int32())
}

func (r random) int64() int64 {
	return pick(r, 0, 1, -1, 1999, math.MaxInt64, math.MinInt64, 1<<53+1, r.Int64())
}

func (r random) float64() float64 {
	return pick(r, 0, 1, -1.5, 0.1, 1e21, 1e-7, 123456789.125, math.MaxFloat64, math.SmallestNonzeroFloat64, math.Inf(1), math.Inf(-1), math.NaN())
}

// scalar returns a value of a field that is neither message nor enum.
func (r random) scalar(kind protoreflect.Kind) protoreflect.Value {
	switch kind {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(r.chance(50))
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(r.int32())
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(r.int32())) //nolint:gosec // any bits will do
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(r.int64())
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(uint64(r.int64())) //nolint:gosec // any bits will do
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(pick[float32](r, 0, 1, -1.5, 0.1, 1e10, math.MaxFloat32))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(r.float64())
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(pick(r, nil, []byte("x"), []byte{0xfb, 0xff, 0xfe}, []byte{0}, []byte("hello")))
	default:
		return protoreflect.ValueOfString(r.text())
	}
}

// value returns a value of a field's type; of one element for lists and maps.
func (r random) value(field protoreflect.FieldDescriptor, depth int) protoreflect.Value {
	switch field.Kind() {
	case protoreflect.EnumKind:
		values := field.Enum().Values()
		if r.chance(5) {
			return protoreflect.ValueOfEnum(77) // open enums keep what they do not know
		}
		return protoreflect.ValueOfEnum(values.Get(r.IntN(values.Len())).Number())
	case protoreflect.MessageKind, protoreflect.GroupKind:
		m, err := newMessage(field.Message().FullName())
		if err != nil {
			panic(err) // the shop's messages are linked into the test
		}
		r.fill(m, depth+1)
		return protoreflect.ValueOfMessage(m.ProtoReflect())
	default:
		return r.scalar(field.Kind())
	}
}

// fill sets about half of a message's fields.
func (r random) fill(message proto.Message, depth int) {
	if r.wellKnown(message, depth) {
		return
	}
	m := message.ProtoReflect()
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if depth >= maxDepth && field.Message() != nil || r.chance(50) {
			continue
		}
		switch {
		case field.IsMap():
			for range r.IntN(3) {
				key := r.value(field.MapKey(), depth).MapKey()
				m.Mutable(field).Map().Set(key, r.value(field.MapValue(), depth))
			}
		case field.IsList():
			for range r.IntN(3) {
				m.Mutable(field).List().Append(r.value(field, depth))
			}
		default:
			m.Set(field, r.value(field, depth)) // the last member of a oneof wins
		}
	}
}

// wellKnown fills a message whose JSON form is its own.
func (r random) wellKnown(message proto.Message, depth int) bool {
	switch m := message.(type) {
	case *timestamppb.Timestamp:
		proto.Merge(m, timestamppb.New(time.Unix(pick[int64](r, 0, 1, 1_767_225_600, -62_135_596_800, 253_402_300_799), pick[int64](r, 0, 1, 500_000_000, 123_456_000))))
	case *durationpb.Duration:
		m.Seconds = pick[int64](r, 0, 1, 90, -5, 315_576_000_000)
		if m.GetSeconds() >= 0 && m.GetSeconds() < 100 {
			m.Nanos = pick[int32](r, 0, 500_000_000, 1)
		}
	case *fieldmaskpb.FieldMask:
		m.Paths = slices.Clone(pick(r, nil, []string{"title"}, []string{"price_minor", "title"}, []string{"dimensions.length_mm"}, []string{"customer.address.city", "note"}))
	case *structpb.Struct:
		s, err := structpb.NewStruct(map[string]any{"k": r.text(), "n": 1.5, "l": []any{true, nil, "x"}, "o": map[string]any{}})
		if err != nil {
			panic(err) // a constant
		}
		proto.Merge(m, s)
	case *structpb.Value:
		proto.Merge(m, pick(r, structpb.NewNullValue(), structpb.NewBoolValue(true), structpb.NewNumberValue(-0.5), structpb.NewStringValue(r.text()), structpb.NewListValue(&structpb.ListValue{})))
	case *httpbody.HttpBody:
		m.ContentType = pick(r, "image/png", "text/html; charset=utf-8", "application/json", "")
		m.Data = slices.Clone(pick(r, nil, []byte("x"), []byte("\x00\xff"), []byte("<p>Grüße"), []byte(`{"a": 1}`)))
	case *anypb.Any:
		inner := pick[proto.Message](r, &catalogv1.Dimensions{LengthMm: 1.5}, durationpb.New(time.Second), &catalogv1.Category{Title: r.text(), ProductCount: r.int64()})
		if err := m.MarshalFrom(inner); err != nil {
			panic(err) // a valid message
		}
	default:
		_ = depth
		return false
	}
	return true
}

// pathValue is the text of a field of a path, before it is escaped.
func (r random) pathValue(field protoreflect.FieldDescriptor) string {
	switch field.Kind() {
	case protoreflect.StringKind:
		return r.word()
	case protoreflect.EnumKind:
		v := field.Enum().Values().Get(r.IntN(field.Enum().Values().Len()))
		return pick(r, string(v.Name()), strconv.Itoa(int(v.Number())))
	default:
		return r.scalar(field.Kind()).String()
	}
}

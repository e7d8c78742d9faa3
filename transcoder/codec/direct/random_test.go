package direct

import (
	"math"
	"math/rand/v2"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// fill sets random fields of m.
func fill(rng *rand.Rand, m protoreflect.Message, depth int, budget *int) {
	if fillWellKnown(rng, m, depth, budget) {
		return
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		required := fd.Cardinality() == protoreflect.Required
		if *budget <= 0 && !required || !required && rng.IntN(4+fields.Len()/4) > 3 {
			continue
		}
		if fd.Message() != nil && depth <= 0 && !required {
			continue
		}
		*budget--
		switch {
		case fd.IsMap():
			for range rng.IntN(4) {
				key := randomScalar(rng, fd.MapKey()).MapKey()
				if fd.MapValue().Message() != nil {
					v := m.Mutable(fd).Map().NewValue()
					fill(rng, v.Message(), depth-1, budget)
					m.Mutable(fd).Map().Set(key, v)
				} else {
					m.Mutable(fd).Map().Set(key, randomScalar(rng, fd.MapValue()))
				}
			}
		case fd.IsList():
			for range rng.IntN(4) {
				if fd.Message() != nil {
					fill(rng, m.Mutable(fd).List().AppendMutable().Message(), depth-1, budget)
				} else {
					m.Mutable(fd).List().Append(randomScalar(rng, fd))
				}
			}
		case fd.Message() != nil:
			fill(rng, m.Mutable(fd).Message(), depth-1, budget)
		default:
			m.Set(fd, randomScalar(rng, fd))
		}
	}
}

// fillWellKnown fills the types that not every content fits, mostly well.
func fillWellKnown(rng *rand.Rand, m protoreflect.Message, depth int, budget *int) bool {
	fields := m.Descriptor().Fields()
	if rng.IntN(40) == 0 {
		return false
	}
	switch m.Descriptor().FullName() {
	case "google.protobuf.Timestamp":
		m.Set(fields.ByNumber(1), protoreflect.ValueOfInt64(rng.Int64N(maxTimestamp-minTimestamp)+minTimestamp))
		m.Set(fields.ByNumber(2), protoreflect.ValueOfInt32(randomNanos(rng)))
	case "google.protobuf.Duration":
		sign := int64(1 - 2*rng.IntN(2))
		m.Set(fields.ByNumber(1), protoreflect.ValueOfInt64(sign*rng.Int64N(maxDuration+1)))
		m.Set(fields.ByNumber(2), protoreflect.ValueOfInt32(int32(sign)*randomNanos(rng)))
	case "google.protobuf.FieldMask":
		for range rng.IntN(3) {
			path := [...]string{"a", "foo_bar", "a.b_c", "x_y.z", "A", "a_1"}[rng.IntN(20)%6*rng.IntN(2)]
			m.Mutable(fields.ByNumber(1)).List().Append(protoreflect.ValueOfString(path))
		}
	case "google.protobuf.Value":
		fd := fields.Get(rng.IntN(fields.Len()))
		if fd.Message() != nil {
			if depth <= 0 {
				fd = fields.ByNumber(4)
			} else {
				fill(rng, m.Mutable(fd).Message(), depth-1, budget)
				return true
			}
		}
		switch fd.Kind() {
		case protoreflect.DoubleKind:
			m.Set(fd, protoreflect.ValueOfFloat64(float64(rng.Int32())/8))
		case protoreflect.EnumKind:
			m.Set(fd, protoreflect.ValueOfEnum(0))
		default:
			m.Set(fd, randomScalar(rng, fd))
		}
	case "google.protobuf.Any":
		names := []string{"transom.codectest.v1.Leaf", "google.protobuf.Duration", "google.protobuf.Any", "transom.codectest.v1.Everything", "google.protobuf.Value", "google.protobuf.Empty", "transom.codectest.v1.Strict", "no.Such"}
		name := names[rng.IntN(len(names)-1+rng.IntN(30)/29)]
		if rng.IntN(10) == 0 {
			return true
		}
		m.Set(fields.ByNumber(1), protoreflect.ValueOfString("type.googleapis.com/"+name))
		if typ, err := resolverForTest.FindMessageByURL(name); err == nil && depth > 0 {
			inner := typ.New()
			fill(rng, inner, depth-1, budget)
			b, err := proto.MarshalOptions{AllowPartial: true}.Marshal(inner.Interface())
			if err == nil {
				m.Set(fields.ByNumber(2), protoreflect.ValueOfBytes(b))
			}
		} else if name == "google.protobuf.Value" {
			m.Set(fields.ByNumber(2), protoreflect.ValueOfBytes([]byte{8, 0}))
		}
	default:
		return false
	}
	return true
}

func randomNanos(rng *rand.Rand) int32 {
	return [...]int32{0, 1, 999999999, 500000000, 123000000, 123456000, rng.Int32N(1000000000)}[rng.IntN(7)]
}

func randomScalar(rng *rand.Rand, fd protoreflect.FieldDescriptor) protoreflect.Value {
	u := rng.Uint64() >> rng.IntN(64)
	if rng.IntN(5) == 0 {
		u = 0
	}
	if rng.IntN(2) == 0 {
		u = -u
	}
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(u&1 != 0)
	case protoreflect.EnumKind:
		values := fd.Enum().Values()
		if rng.IntN(8) == 0 {
			return protoreflect.ValueOfEnum(protoreflect.EnumNumber(int32(u)))
		}
		return protoreflect.ValueOfEnum(values.Get(rng.IntN(values.Len())).Number())
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(u))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(u))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(int64(u))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(u)
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(randomFloat(rng, u, 32)))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(randomFloat(rng, u, 64))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(randomText(rng)))
	}
	return protoreflect.ValueOfString(randomText(rng))
}

func randomFloat(rng *rand.Rand, u uint64, bits int) float64 {
	switch rng.IntN(8) {
	case 0:
		return float64(int32(u))
	case 1:
		return float64(int32(u)) / 100
	case 2:
		return math.Copysign(0, -1)
	case 3:
		return [...]float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e21, 1e-6, 1e-7, 16777216, 0.1}[rng.IntN(8)]
	case 4:
		return float64(int64(u)) / 1e6
	}
	if bits == 32 {
		return float64(math.Float32frombits(uint32(u)))
	}
	return math.Float64frombits(u)
}

func randomText(rng *rand.Rand) string {
	n := rng.IntN(12)
	if rng.IntN(12) == 0 {
		n = rng.IntN(300)
	}
	var b strings.Builder
	for range n {
		b.WriteString([...]string{"a", "Z", "0", " ", "\"", "\\", "\n", "\x01", "é", "€", "😀", "<", "\x7f", "_", "/", "x"}[rng.IntN(16)])
	}
	return b.String()
}

package rest

import (
	"encoding/base64"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/transomhq/transom/transcoder/codec"
)

// values turns the text of path variables and query parameters into elements:
// what follows a field's tag on the wire.
type values struct {
	timestamp, duration          codec.Plan
	structure, anyValue, anyList codec.Plan
}

func newValues(c codec.Codec, depth int) (*values, error) {
	var v values
	for _, p := range []struct {
		plan *codec.Plan
		desc protoreflect.MessageDescriptor
	}{
		{&v.timestamp, (*timestamppb.Timestamp)(nil).ProtoReflect().Descriptor()},
		{&v.duration, (*durationpb.Duration)(nil).ProtoReflect().Descriptor()},
		{&v.structure, (*structpb.Struct)(nil).ProtoReflect().Descriptor()},
		{&v.anyValue, (*structpb.Value)(nil).ProtoReflect().Descriptor()},
		{&v.anyList, (*structpb.ListValue)(nil).ProtoReflect().Descriptor()},
	} {
		var err error
		if *p.plan, err = c.Compile(codec.Root{Message: p.desc}, codec.Options{MaxDepth: depth}); err != nil {
			return nil, err
		}
	}
	return &v, nil
}

// A reason is why a text is not a value of its field, as a phrase for clients.
type reason string

// append appends the element that text is for one value of fd. With lax it
// reads what grpc-gateway reads. The reason is "" when it is a value.
func (v *values) append(dst []byte, fd protoreflect.FieldDescriptor, text string, lax bool) ([]byte, reason) {
	switch fd.Kind() {
	case protoreflect.StringKind:
		if !utf8.ValidString(text) {
			return dst, "not valid UTF-8"
		}
		return protowire.AppendString(dst, text), ""
	case protoreflect.BytesKind:
		return appendBytes(dst, text)
	case protoreflect.BoolKind:
		return appendBool(dst, text, lax)
	case protoreflect.EnumKind:
		return appendEnum(dst, fd.Enum(), text, lax)
	case protoreflect.FloatKind:
		f, r := parseFloat(text, 32, lax)
		return protowire.AppendFixed32(dst, math.Float32bits(float32(f))), r
	case protoreflect.DoubleKind:
		f, r := parseFloat(text, 64, lax)
		return protowire.AppendFixed64(dst, math.Float64bits(f)), r
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return v.appendMessage(dst, fd.Message(), text, lax)
	}
	return appendInteger(dst, fd.Kind(), text, lax)
}

func appendBool(dst []byte, text string, lax bool) ([]byte, reason) {
	if lax {
		b, err := strconv.ParseBool(text)
		if err != nil {
			return dst, "not a boolean"
		}
		return protowire.AppendVarint(dst, protowire.EncodeBool(b)), ""
	}
	switch text {
	case "true":
		return append(dst, 1), ""
	case "false":
		return append(dst, 0), ""
	}
	return dst, "not true or false"
}

func appendEnum(dst []byte, ed protoreflect.EnumDescriptor, text string, lax bool) ([]byte, reason) {
	if v := ed.Values().ByName(protoreflect.Name(text)); v != nil {
		return protowire.AppendVarint(dst, uint64(v.Number())), ""
	}
	n, r := parseSigned(text, 32, lax)
	if r != "" {
		return dst, reason("not a value of enum " + string(ed.FullName()))
	}
	if (lax || ed.IsClosed()) && ed.Values().ByNumber(protoreflect.EnumNumber(n)) == nil {
		return dst, reason("not a value of enum " + string(ed.FullName()))
	}
	return protowire.AppendVarint(dst, uint64(n)), ""
}

// appendBytes takes both alphabets of RFC 4648, padded or not, but not mixed.
func appendBytes(dst []byte, text string) ([]byte, reason) {
	if strings.ContainsAny(text, "\r\n") {
		return dst, "not base64"
	}
	enc := base64.RawStdEncoding
	if strings.ContainsAny(text, "-_") {
		enc = base64.RawURLEncoding
	}
	if strings.HasSuffix(text, "=") {
		if len(text)%4 != 0 {
			return dst, "not base64"
		}
		text = strings.TrimSuffix(text[:len(text)-1], "=")
	}
	b, err := enc.DecodeString(text)
	if err != nil {
		return dst, "not base64"
	}
	return protowire.AppendBytes(dst, b), ""
}

func appendInteger(dst []byte, kind protoreflect.Kind, text string, lax bool) ([]byte, reason) {
	switch kind {
	case protoreflect.Int32Kind:
		n, r := parseSigned(text, 32, lax)
		return protowire.AppendVarint(dst, uint64(n)), r
	case protoreflect.Int64Kind:
		n, r := parseSigned(text, 64, lax)
		return protowire.AppendVarint(dst, uint64(n)), r
	case protoreflect.Sint32Kind:
		n, r := parseSigned(text, 32, lax)
		return protowire.AppendVarint(dst, protowire.EncodeZigZag(n)), r
	case protoreflect.Sint64Kind:
		n, r := parseSigned(text, 64, lax)
		return protowire.AppendVarint(dst, protowire.EncodeZigZag(n)), r
	case protoreflect.Sfixed32Kind:
		n, r := parseSigned(text, 32, lax)
		return protowire.AppendFixed32(dst, uint32(n)), r
	case protoreflect.Sfixed64Kind:
		n, r := parseSigned(text, 64, lax)
		return protowire.AppendFixed64(dst, uint64(n)), r
	case protoreflect.Uint32Kind:
		n, r := parseUnsigned(text, 32, lax)
		return protowire.AppendVarint(dst, n), r
	case protoreflect.Fixed32Kind:
		n, r := parseUnsigned(text, 32, lax)
		return protowire.AppendFixed32(dst, uint32(n)), r
	case protoreflect.Uint64Kind:
		n, r := parseUnsigned(text, 64, lax)
		return protowire.AppendVarint(dst, n), r
	case protoreflect.Fixed64Kind:
		n, r := parseUnsigned(text, 64, lax)
		return protowire.AppendFixed64(dst, n), r
	}
	return dst, "a field of this kind cannot be set from text"
}

// isTextual reports whether md is a message whose JSON form is a string or a
// bare scalar, so that one text is one value.
func isTextual(md protoreflect.MessageDescriptor) bool {
	switch md.FullName() {
	case "google.protobuf.Timestamp", "google.protobuf.Duration", "google.protobuf.FieldMask":
		return true
	}
	return isWrapper(md)
}

// isJSONText reports whether md is a message whose value as a text is JSON.
func isJSONText(md protoreflect.MessageDescriptor) bool {
	switch md.FullName() {
	case "google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue":
		return true
	}
	return false
}

func isWrapper(md protoreflect.MessageDescriptor) bool {
	switch md.FullName() {
	case "google.protobuf.DoubleValue", "google.protobuf.FloatValue", "google.protobuf.Int64Value", "google.protobuf.UInt64Value",
		"google.protobuf.Int32Value", "google.protobuf.UInt32Value", "google.protobuf.BoolValue", "google.protobuf.StringValue", "google.protobuf.BytesValue":
		return true
	}
	return false
}

func (v *values) appendMessage(dst []byte, md protoreflect.MessageDescriptor, text string, lax bool) ([]byte, reason) {
	if isWrapper(md) {
		return v.appendWrapper(dst, md, text, lax)
	}
	switch md.FullName() {
	case "google.protobuf.Timestamp":
		return appendText(dst, v.timestamp, quote(text))
	case "google.protobuf.Duration":
		if d, err := time.ParseDuration(text); lax && err == nil {
			text = strconv.FormatInt(int64(d/time.Second), 10) + "s"
			if d%time.Second != 0 {
				text = formatDuration(d)
			}
		}
		return appendText(dst, v.duration, quote(text))
	case "google.protobuf.FieldMask":
		return appendMask(dst, text, lax)
	case "google.protobuf.Struct":
		return appendText(dst, v.structure, []byte(text))
	case "google.protobuf.Value":
		return appendText(dst, v.anyValue, []byte(text))
	case "google.protobuf.ListValue":
		return appendText(dst, v.anyList, []byte(text))
	case "google.protobuf.Empty":
		if lax && (text == "" || text == "{}") {
			return append(dst, 0), ""
		}
	}
	return dst, "a message cannot be set as a whole; set its fields"
}

// formatDuration writes d as ProtoJSON does, with all nine digits.
func formatDuration(d time.Duration) string {
	sign := ""
	if d < 0 {
		sign = "-"
	}
	seconds, nanos := d/time.Second, d%time.Second
	frac := strconv.FormatInt(int64(max(nanos, -nanos)), 10)
	return sign + strconv.FormatInt(int64(max(seconds, -seconds)), 10) + "." + strings.Repeat("0", 9-len(frac)) + frac + "s"
}

func (v *values) appendWrapper(dst []byte, md protoreflect.MessageDescriptor, text string, lax bool) ([]byte, reason) {
	fd := md.Fields().ByNumber(1)
	start := len(dst)
	dst = protowire.AppendTag(dst, 1, wireType(fd))
	at := len(dst)
	dst, r := v.append(dst, fd, text, lax)
	if r != "" {
		return dst[:start], r
	}
	if isZero(dst[at:]) {
		return append(dst[:start], 0), ""
	}
	return insertLength(dst, start), ""
}

// appendText appends the message that a codec makes of JSON text.
func appendText(dst []byte, p codec.Plan, text []byte) ([]byte, reason) {
	start := len(dst)
	dst, err := p.AppendWire(dst, text)
	if err != nil {
		var ce *codec.Error
		if errors.As(err, &ce) {
			return dst[:start], reason(clip(ce.Reason))
		}
		return dst[:start], "not a value of this field"
	}
	return insertLength(dst, start), ""
}

// appendMask takes comma lists of paths in either spelling and keeps proto's.
func appendMask(dst []byte, text string, lax bool) ([]byte, reason) {
	start := len(dst)
	if text == "" && !lax {
		return append(dst, 0), ""
	}
	for path := range strings.SplitSeq(text, ",") {
		if !lax {
			path = strings.TrimSpace(path)
			if !strings.Contains(path, "_") {
				path = snakeCase(path)
			}
			if !protoreflect.FullName(path).IsValid() {
				return dst[:start], "not a list of field paths"
			}
		}
		if !utf8.ValidString(path) {
			return dst[:start], "not valid UTF-8"
		}
		dst = protowire.AppendTag(dst, 1, protowire.BytesType)
		dst = protowire.AppendString(dst, path)
	}
	return insertLength(dst, start), ""
}

func snakeCase(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r >= 'A' && r <= 'Z' }) < 0 {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= 'A' && c <= 'Z' {
			b.WriteByte('_')
			b.WriteByte(c + 'a' - 'A')
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

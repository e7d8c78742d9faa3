package reflectcodec

import (
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/transomhq/transom/transcoder/codec"
	"github.com/transomhq/transom/transcoder/codec/internal/jsonscan"
)

// AppendWire reads text with protojson and appends the message's wire bytes,
// in the order and form of deterministic marshalling.
func (p *plan) AppendWire(dst, text []byte) (out []byte, err error) {
	defer recovered(dst, &out, &err, codec.BadText)
	if fault := jsonscan.Check(text); fault != nil {
		kind := codec.BadText
		if fault.Deep {
			kind = codec.TooLarge
		}
		return dst, located(kind, text, fault.Offset, fault.Reason)
	}
	whole := text
	if p.root.Field != nil {
		whole = append(append([]byte(p.prefix), text...), '}')
	}
	m := p.message()
	opts := protojson.UnmarshalOptions{
		AllowPartial:   p.root.Field != nil || p.opts.AllowPartial,
		DiscardUnknown: p.opts.DiscardUnknown,
		Resolver:       p.opts.Resolver,
		RecursionLimit: p.opts.MaxDepth,
	}
	if err := opts.Unmarshal(whole, m); err != nil {
		return dst, p.readError(text, whole, err)
	}
	if p.root.Field != nil && !p.opts.AllowPartial {
		if err := checkField(m.ProtoReflect(), p.root.Field); err != nil {
			return dst, p.readError(text, whole, err)
		}
	}
	out, err = proto.MarshalOptions{Deterministic: true, AllowPartial: true}.MarshalAppend(dst, m)
	if err != nil {
		return dst, &codec.Error{Kind: codec.BadText, Reason: withoutPrefix(err)}
	}
	if p.opts.MaxOutput > 0 && len(out)-len(dst) > p.opts.MaxOutput {
		return dst, tooLarge(p.opts.MaxOutput)
	}
	return out, nil
}

// checkField looks for missing required fields below a field root only: the
// root message around it is not whole.
func checkField(m protoreflect.Message, field protoreflect.FieldDescriptor) error {
	if !m.Has(field) || field.Message() == nil {
		return nil
	}
	switch v := m.Get(field); {
	case field.IsMap():
		var err error
		if field.MapValue().Message() != nil {
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				err = proto.CheckInitialized(v.Message().Interface())
				return err == nil
			})
		}
		return err
	case field.IsList():
		for i := range v.List().Len() {
			if err := proto.CheckInitialized(v.List().Get(i).Message().Interface()); err != nil {
				return err
			}
		}
		return nil
	default:
		return proto.CheckInitialized(v.Message().Interface())
	}
}

// position is how protojson says where: line and column, the column in runes.
var position = regexp.MustCompile(`^(?:syntax error )?\(line (\d+):(\d+)\): `)

// readError gives an error of protojson our form.
func (p *plan) readError(text, whole []byte, err error) error {
	reason := withoutPrefix(err)
	kind := codec.BadText
	at := position.FindStringSubmatch(reason)
	if at == nil {
		if strings.Contains(reason, "max recursion depth") {
			return &codec.Error{Kind: codec.TooLarge, Reason: "nested more than " + strconv.Itoa(p.opts.MaxDepth) + " deep"}
		}
		return &codec.Error{Kind: kind, Reason: reason}
	}
	reason = reason[len(at[0]):]
	if strings.HasPrefix(reason, "unknown field ") {
		kind = codec.UnknownField
	}
	line, _ := strconv.Atoi(at[1])
	column, _ := strconv.Atoi(at[2])
	return located(kind, text, offsetOf(whole, line, column)-len(p.prefix), reason)
}

// offsetOf is the inverse of a line and a column in runes.
func offsetOf(text []byte, line, column int) int {
	offset := 0
	for ; line > 1 && offset < len(text); offset++ {
		if text[offset] == '\n' {
			line--
		}
	}
	for ; column > 1 && offset < len(text); column-- {
		_, n := utf8.DecodeRune(text[offset:])
		offset += n
	}
	return offset
}

// maxReason bounds what an error repeats of a hostile text, in bytes.
const maxReason = 200

func located(kind codec.Kind, text []byte, offset int, reason string) error {
	if len(reason) > maxReason {
		reason = strings.ToValidUTF8(reason[:maxReason], "") + "..."
	}
	pointer, line, column := jsonscan.Locate(text, offset)
	return &codec.Error{Kind: kind, Pointer: pointer, Line: line, Column: column, Reason: reason}
}

// withoutPrefix removes "proto: ", whose space is not stable.
func withoutPrefix(err error) string {
	s := strings.TrimPrefix(err.Error(), "proto:")
	return strings.TrimLeft(s, " \u00a0")
}

func tooLarge(limit int) error {
	return &codec.Error{Kind: codec.TooLarge, Reason: "more than " + strconv.Itoa(limit) + " bytes of output"}
}

// fieldPrefix is the start of an object that has only this field.
func fieldPrefix(f protoreflect.FieldDescriptor) string {
	return `{` + quote(f.JSONName()) + `:`
}

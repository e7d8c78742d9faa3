package codec

import (
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Codec compiles plans. A codec is safe for concurrent use.
type Codec interface {
	// Compile returns the plan for root. Compiling is costly; doors compile
	// once for each binding and snapshot, never for a call.
	Compile(root Root, opts Options) (Plan, error)
}

// Plan transcodes one kind of value. A plan is immutable and safe for
// concurrent use; neither function keeps or changes its input.
type Plan interface {
	// AppendWire appends the protobuf wire bytes of the JSON text, which must
	// be exactly one JSON value. Empty text is an error. Errors are *Error.
	AppendWire(dst, text []byte) ([]byte, error)
	// AppendJSON appends the JSON text of a message in wire form. For a field
	// root, wire is the whole message and the text is the field's alone.
	// Errors are *Error.
	AppendJSON(dst, wire []byte) ([]byte, error)
}

// Root is what a plan transcodes: a whole message, or one field of it as
// google.api.HttpRule's body and response_body name one.
type Root struct {
	Message protoreflect.MessageDescriptor
	// Field is nil for the whole message. Otherwise JSON text is the bare
	// value of the field (an array for a repeated field, an object for a map),
	// and the wire bytes written are those of a Message with only that field.
	Field protoreflect.FieldDescriptor
}

// Options are the styles and limits of a plan. The zero value is ProtoJSON as
// protojson writes and reads it by default.
type Options struct {
	EmitUnpopulated bool // write fields without a value
	UseProtoNames   bool // foo_bar, not fooBar
	UseEnumNumbers  bool // enums as numbers
	Int64AsNumber   bool // 64-bit integers as JSON numbers
	Indent          int  // spaces; 0 is one line without spaces
	DiscardUnknown  bool // ignore JSON members that name no field, and unknown enum names

	// AllowPartial lets required fields (proto2) be missing in JSON text, for
	// whoever adds more to the message and looks for them then.
	AllowPartial bool

	// MaxDepth bounds nesting in both directions; 0 means 100, as C++ and Java backends do.
	MaxDepth int
	// MaxOutput bounds what one call appends, in bytes; 0 means no bound. An
	// empty message of 2 bytes can be a page of defaults in JSON.
	MaxOutput int

	// Resolver finds the types inside google.protobuf.Any and extensions.
	Resolver Resolver
}

// Resolver finds message and extension types by name.
type Resolver interface {
	protoregistry.MessageTypeResolver
	protoregistry.ExtensionTypeResolver
}

// Kind says what is wrong.
type Kind int

// The kinds of errors.
const (
	// BadText: the JSON text is malformed, or a value does not fit its field.
	BadText Kind = iota
	// UnknownField: a JSON member names no field (and DiscardUnknown is off).
	UnknownField
	// BadWire: the wire bytes are not a valid message, or have no JSON form.
	BadWire
	// TooLarge: MaxDepth or MaxOutput was exceeded.
	TooLarge
)

// Error is why a value could not be transcoded. Its texts are public.
type Error struct {
	Kind Kind
	// Pointer is where: a JSON pointer (RFC 6901) into the text, "" for the whole.
	Pointer string
	// Line and Column count from 1, in bytes; 0 when there is no text.
	Line, Column int
	// Reason says what, as a phrase: `duplicate field "id"`.
	Reason string
}

// Error returns the whole public text, `line 1, column 9 (/sub/n): reason`.
func (e *Error) Error() string {
	where := e.Pointer
	if where == "" {
		where = "/"
	}
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", where, e.Reason)
	}
	return fmt.Sprintf("line %d, column %d (%s): %s", e.Line, e.Column, where, e.Reason)
}

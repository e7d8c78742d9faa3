package direct

import (
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// op is how one value is read and written: the field's kind.
type op uint8

const (
	opBool op = iota
	opInt32
	opSint32
	opSfixed32
	opUint32
	opFixed32
	opInt64
	opSint64
	opSfixed64
	opUint64
	opFixed64
	opFloat
	opDouble
	opEnum
	opString // from here on no list is packed
	opBytes
	opMessage
	opGroup
)

// shape is how often a field's value comes.
type shape uint8

const (
	single shape = iota
	list
	dict // a map
)

// form is the JSON form of a message type.
type form uint8

const (
	formObject form = iota // an object of its fields
	formEmpty              // an object without fields; differs inside Any only
	formAny
	formTimestamp
	formDuration
	formMask
	formValue
	formBare // the bare value of the first field: wrappers, Struct, ListValue
	formRefused
)

// field is one field in a message type's table.
type field struct {
	tag      uint64 // the tag's bytes, first byte lowest
	tagLen   uint8
	op       op
	shape    shape
	wire     protowire.Type // of one value
	packed   bool           // written packed
	presence bool           // a zero is written
	nullable bool           // JSON null is a value
	required bool
	plain    bool  // a single value, not in a oneof, not required, not an extension
	utf8     bool  // wire bytes must be valid UTF-8
	oneof    int16 // index, or -1
	index    int   // in the table; -1 for extensions
	num      protowire.Number

	message *message
	lead    string   // `,"name":`
	short   [32]byte // lead, if it fits
	enum    *enum
	key     *field // of a map
	value   *field
	zero    string // the JSON text of the zero value
	desc    protoreflect.FieldDescriptor
}

// message is what is known of a message type. Its identity is made when the
// type is first mentioned; its tables when it is first used.
type message struct {
	family *family
	desc   protoreflect.MessageDescriptor
	once   sync.Once
	ready  atomic.Bool

	form     form
	refusal  string
	fields   []field    // by number
	byTag    [128]uint8 // a tag of one byte to the index of its field + 1
	byNumber []uint16
	sparse   map[protowire.Number]uint16 // numbers beyond byNumber
	names    nameTable
	words    int  // of a bit set of the fields
	oneofs   int  // words of a bit set of the oneofs
	many     bool // more fields or oneofs than one word has bits
	required int  // how many
	extends  bool

	// defaults is the text of all fields that are written without a value;
	// those of field i are at [offsets[i], offsets[i+1]).
	defaults []byte
	offsets  []uint32

	// Extensions that exist, as they are met.
	extNames   cache[string, *field]
	extNumbers cache[protowire.Number, *field]
}

// tables makes sure that the tables are there.
func (m *message) tables() *message {
	if !m.ready.Load() {
		m.once.Do(m.build)
	}
	return m
}

// field finds a field by its number; nil if there is none.
func (m *message) field(num protowire.Number) *field {
	if uint(num) < uint(len(m.byNumber)) {
		if i := m.byNumber[num]; i != 0 {
			return &m.fields[i-1]
		}
	} else if i := m.sparse[num]; i != 0 {
		return &m.fields[i-1]
	}
	if m.extends {
		return m.extension(num)
	}
	return nil
}

// enum is the names and numbers of an enum type.
type enum struct {
	names   nameTable // to an index of numbers
	numbers []int32
	text    map[int32]string // quoted; the first declared name
	dense   []string         // the same for small numbers
	null    bool             // google.protobuf.NullValue
}

// find returns the number of a name.
func (e *enum) find(name []byte) (int32, bool) {
	k := e.names.find(name)
	if k < 0 {
		return 0, false
	}
	return e.numbers[e.names.entries[k].field], true
}

// family is the types that share options and resolver, and their scratch.
type family struct {
	style    style
	resolver resolver

	mu       sync.Mutex
	messages map[protoreflect.MessageDescriptor]*message
	enums    map[protoreflect.EnumDescriptor]*enum
	urls     cache[string, *message] // by type URL, only those that exist

	readers sync.Pool
	writers sync.Pool
}

// style is those options that the tables depend on.
type style struct {
	protoNames, enumNumbers, bareInt64, unpopulated bool
}

package direct

import (
	"encoding/json"
	"sort"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxDense bounds the table of fields by number.
const maxDense = 1024

// message returns the table of a type, to be filled when it is used.
func (f *family) message(desc protoreflect.MessageDescriptor) *message {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.messages[desc]
	if m == nil {
		m = &message{family: f, desc: desc}
		f.messages[desc] = m
	}
	return m
}

// build fills the tables.
func (m *message) build() {
	m.form, m.refusal = formOf(m.desc)
	fds := m.desc.Fields()
	m.fields = make([]field, fds.Len())
	order := make([]protoreflect.FieldDescriptor, fds.Len())
	for i := range order {
		order[i] = fds.Get(i)
	}
	sort.Slice(order, func(i, j int) bool { return order[i].Number() < order[j].Number() })
	top := protowire.Number(0)
	for _, fd := range order {
		if fd.Number() < maxDense {
			top = fd.Number()
		}
	}
	m.byNumber = make([]uint16, top+1)
	for i, fd := range order {
		m.fields[i] = m.family.fieldOf(fd)
		m.fields[i].index = i
		m.fields[i].plain = m.fields[i].shape == single && m.fields[i].oneof < 0 && !m.fields[i].required
		if fd.Number() <= top {
			m.byNumber[fd.Number()] = uint16(i + 1)
		} else {
			if m.sparse == nil {
				m.sparse = map[protowire.Number]uint16{}
			}
			m.sparse[fd.Number()] = uint16(i + 1)
		}
		if m.fields[i].required {
			m.required++
		}
	}
	for tag := 8; tag < len(m.byTag); tag++ {
		if f := m.field(protowire.Number(tag >> 3)); f != nil && f.takes(protowire.Type(tag&7)) {
			m.byTag[tag] = uint8(f.index + 1)
		}
	}
	m.words = (len(m.fields) + 63) / 64
	m.oneofs = (m.desc.Oneofs().Len() + 63) / 64
	m.many = m.words > 1 || m.oneofs > 1
	m.extends = m.desc.ExtensionRanges().Len() > 0
	m.fillNames()
	m.fillDefaults()
	m.ready.Store(true)
}

// fillNames takes JSON names first, in declared order, then proto names.
func (m *message) fillNames() {
	fds := m.desc.Fields()
	index := make(map[protoreflect.FieldNumber]int, len(m.fields))
	for i := range m.fields {
		index[m.fields[i].num] = i
	}
	names := make([]nameOf, 0, 2*fds.Len())
	for i := range fds.Len() {
		names = append(names, nameOf{fds.Get(i).JSONName(), index[fds.Get(i).Number()]})
	}
	for i := range fds.Len() {
		if name := fds.Get(i).TextName(); name != fds.Get(i).JSONName() {
			names = append(names, nameOf{name, index[fds.Get(i).Number()]})
		}
	}
	m.names.fill(names)
}

// fillDefaults writes what EmitUnpopulated adds.
func (m *message) fillDefaults() {
	m.offsets = make([]uint32, len(m.fields)+1)
	for i := range m.fields {
		f := &m.fields[i]
		if m.family.style.unpopulated && f.desc.ContainingOneof() == nil {
			m.defaults = append(m.defaults, f.lead...)
			switch {
			case f.shape == list:
				m.defaults = append(m.defaults, "[]"...)
			case f.shape == dict:
				m.defaults = append(m.defaults, "{}"...)
			case f.presence:
				m.defaults = append(m.defaults, "null"...)
			default:
				m.defaults = append(m.defaults, f.zero...)
			}
		}
		m.offsets[i+1] = uint32(len(m.defaults))
	}
}

// single is fieldOf for a field outside of a table.
func (f *family) single(fd protoreflect.FieldDescriptor) *field {
	fl := f.fieldOf(fd)
	return &fl
}

func (f *family) fieldOf(fd protoreflect.FieldDescriptor) field {
	fl := field{
		op: opOf(fd.Kind()), num: fd.Number(), index: -1, oneof: -1, desc: fd,
		presence: fd.HasPresence(), required: fd.Cardinality() == protoreflect.Required,
		utf8: enforcesUTF8(fd),
	}
	if o := fd.ContainingOneof(); o != nil {
		fl.oneof = int16(o.Index())
	}
	fl.wire = wireOf(fl.op)
	name := fd.JSONName()
	if f.style.protoNames {
		name = fd.TextName()
	}
	fl.lead = "," + quoted(name) + ":"
	copy(fl.short[:], fl.lead)
	switch {
	case fd.IsMap():
		fl.shape, fl.op = dict, opMessage
		fl.key, fl.value = f.single(fd.MapKey()), f.single(fd.MapValue())
	case fd.IsList():
		fl.shape, fl.packed = list, fd.IsPacked()
	}
	if fl.shape != dict && fd.Message() != nil {
		fl.message = f.message(fd.Message())
		fl.nullable = fd.Message().FullName() == "google.protobuf.Value"
	}
	if fd.Enum() != nil {
		fl.enum = f.enum(fd.Enum())
		fl.nullable = fl.enum.null
	}
	tag := protowire.AppendTag(nil, fd.Number(), fl.wire)
	if fl.packed {
		tag = protowire.AppendTag(nil, fd.Number(), protowire.BytesType)
	}
	fl.tagLen = uint8(len(tag))
	for i, b := range tag {
		fl.tag |= uint64(b) << (8 * i)
	}
	fl.zero = f.zeroText(&fl)
	return fl
}

// zeroText is the JSON of the zero value of a scalar, as protojson has it for a
// field without presence and for the missing value of a map entry.
func (f *family) zeroText(fl *field) string {
	switch fl.op {
	case opBool:
		return "false"
	case opString, opBytes:
		return `""`
	case opInt64, opSint64, opSfixed64, opUint64, opFixed64:
		if !f.style.bareInt64 {
			return `"0"`
		}
	case opEnum:
		return fl.enum.string(int32(fl.desc.Enum().Values().Get(0).Number()), f.style.enumNumbers)
	case opMessage, opGroup:
		return "null"
	}
	return "0"
}

func (f *family) enum(desc protoreflect.EnumDescriptor) *enum {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e := f.enums[desc]; e != nil {
		return e
	}
	e := &enum{text: map[int32]string{}, null: desc.FullName() == "google.protobuf.NullValue"}
	var names []nameOf
	for i := range desc.Values().Len() {
		v := desc.Values().Get(i)
		number := int32(v.Number())
		names = append(names, nameOf{string(v.Name()), i})
		e.numbers = append(e.numbers, number)
		if _, ok := e.text[number]; !ok {
			e.text[number] = quoted(string(v.Name()))
		}
	}
	e.names.fill(names)
	e.dense = make([]string, min(len(names), maxDense))
	for i := range e.dense {
		e.dense[i] = e.text[int32(i)]
	}
	f.enums[desc] = e
	return e
}

// string is the JSON text of a number.
func (e *enum) string(n int32, asNumber bool) string {
	if e.null {
		return "null"
	}
	if s := e.text[n]; s != "" && !asNumber {
		return s
	}
	return strconv.Itoa(int(n))
}

func enforcesUTF8(fd protoreflect.FieldDescriptor) bool {
	if fd.Kind() != protoreflect.StringKind {
		return false
	}
	if d, ok := fd.(interface{ EnforceUTF8() bool }); ok {
		return d.EnforceUTF8()
	}
	return fd.Syntax() == protoreflect.Proto3
}

func opOf(k protoreflect.Kind) op {
	switch k {
	case protoreflect.BoolKind:
		return opBool
	case protoreflect.Int32Kind:
		return opInt32
	case protoreflect.Sint32Kind:
		return opSint32
	case protoreflect.Sfixed32Kind:
		return opSfixed32
	case protoreflect.Uint32Kind:
		return opUint32
	case protoreflect.Fixed32Kind:
		return opFixed32
	case protoreflect.Int64Kind:
		return opInt64
	case protoreflect.Sint64Kind:
		return opSint64
	case protoreflect.Sfixed64Kind:
		return opSfixed64
	case protoreflect.Uint64Kind:
		return opUint64
	case protoreflect.Fixed64Kind:
		return opFixed64
	case protoreflect.FloatKind:
		return opFloat
	case protoreflect.DoubleKind:
		return opDouble
	case protoreflect.StringKind:
		return opString
	case protoreflect.BytesKind:
		return opBytes
	case protoreflect.EnumKind:
		return opEnum
	case protoreflect.GroupKind:
		return opGroup
	}
	return opMessage
}

func wireOf(o op) protowire.Type {
	switch o {
	case opSfixed32, opFixed32, opFloat:
		return protowire.Fixed32Type
	case opSfixed64, opFixed64, opDouble:
		return protowire.Fixed64Type
	case opString, opBytes, opMessage:
		return protowire.BytesType
	case opGroup:
		return protowire.StartGroupType
	}
	return protowire.VarintType
}

// quoted is s as a JSON string, without HTML escapes.
func quoted(s string) string {
	b, ok := appendString(nil, []byte(s))
	if !ok {
		b, _ = json.Marshal(s) // a name that is not UTF-8: no text matches it
	}
	return string(b)
}

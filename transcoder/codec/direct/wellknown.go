package direct

import "google.golang.org/protobuf/reflect/protoreflect"

// formOf tells the types with a JSON form of their own by their names, as
// protojson does; one whose fields are not the well-known ones is an object.
func formOf(d protoreflect.MessageDescriptor) (form, string) {
	if isMessageSet(d) {
		return formRefused, "messages with message_set_wire_format have no JSON form"
	}
	if d.FullName().Parent() != "google.protobuf" {
		return formObject, ""
	}
	want, f := "", formObject
	switch d.Name() {
	case "Any":
		want, f = "string bytes", formAny
	case "Timestamp":
		want, f = "int64 int32", formTimestamp
	case "Duration":
		want, f = "int64 int32", formDuration
	case "FieldMask":
		want, f = "repeated string", formMask
	case "BoolValue":
		want, f = "bool", formBare
	case "Int32Value":
		want, f = "int32", formBare
	case "Int64Value":
		want, f = "int64", formBare
	case "UInt32Value":
		want, f = "uint32", formBare
	case "UInt64Value":
		want, f = "uint64", formBare
	case "FloatValue":
		want, f = "float", formBare
	case "DoubleValue":
		want, f = "double", formBare
	case "StringValue":
		want, f = "string", formBare
	case "BytesValue":
		want, f = "bytes", formBare
	case "Struct":
		want, f = "map", formBare
	case "ListValue":
		want, f = "repeated message", formBare
	case "Value":
		want, f = "enum double string bool message message", formValue
	case "Empty":
		want, f = "", formEmpty
	}
	if signature(d) != want {
		return formObject, ""
	}
	return f, ""
}

// signature lists the kinds of fields 1, 2, 3 ...
func signature(d protoreflect.MessageDescriptor) string {
	s := ""
	for i := range d.Fields().Len() {
		f := d.Fields().ByNumber(protoreflect.FieldNumber(i + 1))
		switch {
		case f == nil:
			return "?"
		case f.IsMap():
			s += " map"
		case f.IsList():
			s += " repeated " + f.Kind().String()
		default:
			s += " " + f.Kind().String()
		}
	}
	if s != "" {
		s = s[1:]
	}
	return s
}

func isMessageSet(d protoreflect.MessageDescriptor) bool {
	ms, ok := d.(interface{ IsMessageSet() bool })
	return ok && ms.IsMessageSet()
}

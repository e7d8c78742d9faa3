package oracle

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// parameter is one parameter of a query, not yet escaped.
type parameter struct{ name, value string }

// query writes the fields of a message as parameters, leaving out what a
// query cannot say (lists of messages, maps of messages, structs) and what
// skip names.
func (r random) query(m protoreflect.Message, skip func(path string) bool) []parameter {
	return r.flatten(nil, m, "", "", skip)
}

// flatten appends the parameters of m, whose path is prefix (in the spelling
// of the query) and plain (in proto names).
func (r random) flatten(all []parameter, m protoreflect.Message, prefix, plain string, skip func(string) bool) []parameter {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		path := plain + string(field.Name())
		if !m.Has(field) || skip(path) {
			continue
		}
		name := prefix + pick(r, string(field.Name()), field.JSONName())
		value := m.Get(field)
		switch {
		case field.IsMap():
			all = append(all, r.mapParameters(field, value.Map(), name)...)
		case field.IsList():
			for j := range value.List().Len() {
				if text, ok := parameterText(field, value.List().Get(j)); ok {
					all = append(all, parameter{name, text})
				}
			}
		default:
			text, ok := parameterText(field, value)
			switch {
			case ok:
				all = append(all, parameter{name, text})
			case field.Message() != nil && field.Message().ParentFile().Package() != "google.protobuf":
				all = r.flatten(all, value.Message(), name+".", path+".", skip)
			}
		}
	}
	return all
}

func (r random) mapParameters(field protoreflect.FieldDescriptor, m protoreflect.Map, name string) []parameter {
	var all []parameter
	m.Range(func(key protoreflect.MapKey, value protoreflect.Value) bool {
		if text, ok := parameterText(field.MapValue(), value); ok {
			all = append(all, parameter{fmt.Sprintf("%s[%s]", name, key.String()), text})
		}
		return true
	})
	slices.SortFunc(all, func(a, b parameter) int { return strings.Compare(a.name, b.name) })
	return all
}

// parameterText returns the text of a value in a query, where it has one.
func parameterText(field protoreflect.FieldDescriptor, value protoreflect.Value) (string, bool) {
	switch field.Kind() {
	case protoreflect.EnumKind:
		if known := field.Enum().Values().ByNumber(value.Enum()); known != nil {
			return string(known.Name()), true
		}
		return fmt.Sprint(value.Enum()), true
	case protoreflect.BytesKind:
		return base64.URLEncoding.EncodeToString(value.Bytes()), true
	case protoreflect.MessageKind:
		switch field.Message().FullName() {
		case "google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue", "google.protobuf.Any":
			return "", false
		}
		text, err := protojson.Marshal(value.Message().Interface())
		if err != nil || text[0] == '{' || text[0] == '[' {
			return "", false
		}
		var unquoted string
		if json.Unmarshal(text, &unquoted) == nil {
			return unquoted, true
		}
		return string(text), true
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return strings.Replace(value.String(), "Inf", "Infinity", 1), true // as in JSON
	default:
		return value.String(), true
	}
}

// encode writes parameters as a query string.
func encode(parameters []parameter) string {
	texts := make([]string, len(parameters))
	for i, p := range parameters {
		texts[i] = url.QueryEscape(p.name) + "=" + url.QueryEscape(p.value)
	}
	return strings.Join(texts, "&")
}

// clearPath clears the field of a path in m, and the members of its oneof.
func clearPath(message proto.Message, path string) {
	m := message.ProtoReflect()
	names := strings.Split(path, ".")
	for _, name := range names[:len(names)-1] {
		field := m.Descriptor().Fields().ByName(protoreflect.Name(name))
		if !m.Has(field) {
			return
		}
		m = m.Mutable(field).Message()
	}
	m.Clear(m.Descriptor().Fields().ByName(protoreflect.Name(names[len(names)-1])))
}

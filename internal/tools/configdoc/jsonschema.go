package main

import (
	"bytes"
	"encoding/json"
	"strconv"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/transomhq/transom/config"
)

// object is a JSON object.
type object = map[string]any

// What texts look like where they stand for something else.
const (
	variablePattern = `\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}`
	durationPattern = `^([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+$|^0$`
	sizePattern     = `^[0-9]+ ?(B|kB|MB|GB|KiB|MiB|GiB)?$`
	timePattern     = `^[0-9]{4}-[0-9]{2}-[0-9]{2}(T.*)?$`
)

// jsonSchema returns the JSON Schema (2020-12) of a file. Values of all types
// may be written as a variable, "${NAME}".
func jsonSchema(root protoreflect.MessageDescriptor, c *comments) ([]byte, error) {
	defs := object{
		"variable": object{"type": "string", "pattern": variablePattern, "description": "A value from the environment."},
	}
	for _, m := range typesOf(root).messages {
		defs[title(m)] = messageSchema(m, c)
	}
	schema := object{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"$id":     "https://raw.githubusercontent.com/transomhq/transom/main/docs/config.schema.json",
		"title":   "Transom configuration",
		"$ref":    "#/$defs/" + title(root),
		"$defs":   defs,
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(schema)
	return b.Bytes(), err
}

func messageSchema(m protoreflect.MessageDescriptor, c *comments) object {
	properties := object{}
	var required []string
	for i := range m.Fields().Len() {
		fd := m.Fields().Get(i)
		properties[string(fd.Name())] = fieldSchema(fd, c)
		if config.RuleOf(fd).GetRequired() {
			required = append(required, string(fd.Name()))
		}
	}
	s := object{"type": "object", "additionalProperties": false, "properties": properties}
	if text := c.of(m); text != "" {
		s["description"] = text
	}
	if required != nil {
		s["required"] = required
	}
	if m.Oneofs().Len() == 1 && m.Oneofs().Get(0).Fields().Len() == m.Fields().Len() && !m.Oneofs().Get(0).IsSynthetic() {
		s["maxProperties"] = 1
	}
	return s
}

func fieldSchema(fd protoreflect.FieldDescriptor, c *comments) object {
	var s object
	switch {
	case fd.IsMap():
		s = object{"type": "object", "additionalProperties": valueSchema(fd.MapValue())}
	case fd.IsList():
		s = object{"type": "array", "items": valueSchema(fd)}
		if config.RuleOf(fd).GetRequired() {
			s["minItems"] = 1
		}
	default:
		s = valueSchema(fd)
	}
	s["description"] = fieldText(fd, c)
	if text := config.RuleOf(fd).GetDefault(); text != "" {
		s["default"] = literal(fd, text)
	}
	return s
}

// literal is a default as JSON.
func literal(fd protoreflect.FieldDescriptor, text string) any {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return text == "true"
	case protoreflect.Int32Kind, protoreflect.Int64Kind:
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n
		}
	}
	return text
}

func valueSchema(fd protoreflect.FieldDescriptor) object {
	switch fd.Kind() {
	case protoreflect.StringKind, protoreflect.BytesKind:
		return object{"type": []string{"string", "number", "boolean"}}
	case protoreflect.BoolKind:
		return orVariable(object{"type": "boolean"})
	case protoreflect.EnumKind:
		return orVariable(object{"enum": config.EnumNames(fd.Enum())})
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return orVariable(object{"type": "number"})
	case protoreflect.MessageKind, protoreflect.GroupKind:
		switch fd.Message().FullName() {
		case "google.protobuf.Duration":
			return orVariable(object{"type": "string", "pattern": durationPattern})
		case "google.protobuf.Timestamp":
			return orVariable(object{"type": "string", "pattern": timePattern})
		case "transom.config.v1.Secret":
			return object{"anyOf": []any{object{"type": "string"}, object{"$ref": "#/$defs/" + title(fd.Message())}}}
		}
		return object{"$ref": "#/$defs/" + title(fd.Message())}
	}
	number := object{"type": "integer"}
	bound(number, "minimum", config.RuleOf(fd).GetMin())
	bound(number, "maximum", config.RuleOf(fd).GetMax())
	if config.IsSize(fd) {
		return orVariable(number, object{"type": "string", "pattern": sizePattern})
	}
	return orVariable(number)
}

func bound(s object, key, text string) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		s[key] = n
	}
}

func orVariable(forms ...any) object {
	return object{"anyOf": append(forms, object{"$ref": "#/$defs/variable"})}
}

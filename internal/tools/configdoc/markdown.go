package main

import (
	"bytes"
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/transomhq/transom/config"
)

// markdown returns the reference.
func markdown(root protoreflect.MessageDescriptor, c *comments) ([]byte, error) {
	defaults, err := config.Marshal(config.Defaults())
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString("<!-- Written by `make gen` from proto/transom/config/v1. Do not edit. -->\n\n# Configuration\n\n")
	writeProse(&b, c.pkg)
	b.WriteString(`Editors complete and check a file that starts with

` + "```yaml\n# yaml-language-server: $schema=https://raw.githubusercontent.com/transomhq/transom/main/docs/config.schema.json\n```" + `

` + "`transom check -c FILE`" + ` reports every mistake at once. What an empty file means:

` + "```yaml\n" + string(defaults) + "```\n")
	all := typesOf(root)
	for _, m := range all.messages {
		writeMessage(&b, m, c)
	}
	for _, e := range all.enums {
		writeEnum(&b, e, c)
	}
	return b.Bytes(), nil
}

// writeProse writes a comment whose indented parts are YAML.
func writeProse(b *bytes.Buffer, text string) {
	inCode := false
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(strings.TrimPrefix(line, " "), "\n")
		if code := strings.HasPrefix(line, "  "); code != inCode && line != "" {
			if code {
				b.WriteString("```yaml\n")
			} else {
				b.WriteString("```\n\n")
			}
			inCode = code
		}
		if inCode && line == "" {
			continue
		}
		b.WriteString(strings.TrimPrefix(line, "  ") + "\n")
	}
	b.WriteString("\n")
}

func writeMessage(b *bytes.Buffer, m protoreflect.MessageDescriptor, c *comments) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n| field | type | default | |\n| --- | --- | --- | --- |\n", title(m), c.of(m))
	for i := range m.Fields().Len() {
		fd := m.Fields().Get(i)
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", fd.Name(), typeCell(fd), defaultCell(fd), cell(fieldText(fd, c)))
	}
}

// fieldText is a field's comment, or that of what it holds, with its range.
func fieldText(fd protoreflect.FieldDescriptor, c *comments) string {
	text := c.of(fd)
	if text == "" && fd.Message() != nil {
		text = c.of(fd.Message())
	}
	if text == "" && fd.Enum() != nil {
		text = c.of(fd.Enum())
	}
	rule := config.RuleOf(fd)
	switch least, most := rule.GetMin(), rule.GetMax(); {
	case least != "" && most != "":
		text += fmt.Sprintf(" From %s to %s.", least, most)
	case least != "":
		text += fmt.Sprintf(" At least %s.", least)
	case most != "":
		text += fmt.Sprintf(" At most %s.", most)
	}
	if one := fd.ContainingOneof(); one != nil && !one.IsSynthetic() {
		var others []string
		for i := range one.Fields().Len() {
			if other := one.Fields().Get(i); other != fd {
				others = append(others, "`"+string(other.Name())+"`")
			}
		}
		text += " Excludes " + strings.Join(others, ", ") + "."
	}
	return strings.TrimSpace(text)
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

func defaultCell(fd protoreflect.FieldDescriptor) string {
	rule := config.RuleOf(fd)
	switch {
	case rule.GetRequired():
		return "required"
	case rule.GetDefault() != "":
		return "`" + rule.GetDefault() + "`"
	}
	return ""
}

func typeCell(fd protoreflect.FieldDescriptor) string {
	switch {
	case fd.IsMap():
		return "mapping of " + typeName(fd.MapValue())
	case fd.IsList():
		return "list of " + typeName(fd)
	}
	return typeName(fd)
}

func typeName(fd protoreflect.FieldDescriptor) string {
	switch fd.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		switch fd.Message().FullName() {
		case "google.protobuf.Duration":
			return "duration"
		case "google.protobuf.Timestamp":
			return "time"
		}
		return link(fd.Message())
	case protoreflect.EnumKind:
		return link(fd.Enum())
	case protoreflect.StringKind:
		return "text"
	case protoreflect.BoolKind:
		return "true, false"
	case protoreflect.BytesKind:
		return "base64"
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return "number"
	}
	if config.IsSize(fd) {
		return "size"
	}
	return "integer"
}

// link refers to a type's section by the anchor that GitHub gives it.
func link(d protoreflect.Descriptor) string {
	anchor := strings.ReplaceAll(strings.ToLower(title(d)), ".", "")
	return fmt.Sprintf("[%s](#%s)", title(d), anchor)
}

func writeEnum(b *bytes.Buffer, e protoreflect.EnumDescriptor, c *comments) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n", title(e), c.of(e))
	for i := range e.Values().Len() {
		v := e.Values().Get(i)
		if v.Number() == 0 {
			continue
		}
		if text := c.of(v); text != "" {
			fmt.Fprintf(b, "- `%s`: %s\n", config.EnumName(v), text)
		} else {
			fmt.Fprintf(b, "- `%s`\n", config.EnumName(v))
		}
	}
}

package config

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"gopkg.in/yaml.v3"

	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
)

// Marshal writes cfg as YAML that Parse reads back, secrets included: Mask it
// before it is shown.
func Marshal(cfg *configv1.Config) ([]byte, error) { return marshal(cfg.ProtoReflect()) }

func marshal(m protoreflect.Message) ([]byte, error) {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(messageNode(m)); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if err := enc.Close(); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return b.Bytes(), nil
}

func messageNode(m protoreflect.Message) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if !m.Has(fd) {
			continue
		}
		n.Content = append(n.Content, textNode(string(fd.Name())), fieldNode(fd, m.Get(fd)))
	}
	if len(n.Content) == 0 {
		n.Style = yaml.FlowStyle
	}
	return n
}

func fieldNode(fd protoreflect.FieldDescriptor, v protoreflect.Value) *yaml.Node {
	switch {
	case fd.IsMap():
		return mapNode(fd, v.Map())
	case fd.IsList():
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range v.List().Len() {
			n.Content = append(n.Content, valueNode(fd, v.List().Get(i)))
		}
		return n
	}
	return valueNode(fd, v)
}

func mapNode(fd protoreflect.FieldDescriptor, m protoreflect.Map) *yaml.Node {
	type entry struct{ key, value *yaml.Node }
	var entries []entry
	m.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		entries = append(entries, entry{valueNode(fd.MapKey(), k.Value()), valueNode(fd.MapValue(), v)})
		return true
	})
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.key.Value, b.key.Value) })
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, e := range entries {
		n.Content = append(n.Content, e.key, e.value)
	}
	return n
}

func valueNode(fd protoreflect.FieldDescriptor, v protoreflect.Value) *yaml.Node {
	switch fd.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		if isScalar(fd.Message()) {
			return plainNode(timeText(v.Message()))
		}
		return messageNode(v.Message())
	case protoreflect.StringKind:
		return textNode(escape(v.String()))
	case protoreflect.BytesKind:
		return textNode(base64.StdEncoding.EncodeToString(v.Bytes()))
	case protoreflect.EnumKind:
		if value := fd.Enum().Values().ByNumber(v.Enum()); value != nil {
			return plainNode(EnumName(value))
		}
		return plainNode(strconv.Itoa(int(v.Enum())))
	}
	if IsSize(fd) {
		return plainNode(formatSize(v.Int()))
	}
	return plainNode(v.String())
}

func timeText(m protoreflect.Message) string {
	switch t := m.Interface().(type) {
	case *durationpb.Duration:
		return formatDuration(t.AsDuration())
	case *timestamppb.Timestamp:
		return t.AsTime().Format(time.RFC3339Nano)
	}
	return ""
}

// plainNode is a text that needs no quotes, whatever it looks like.
func plainNode(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Value: s}
}

// textNode is a text, quoted where YAML would take it for something else.
func textNode(s string) *yaml.Node {
	n := new(yaml.Node)
	n.SetString(s)
	return n
}

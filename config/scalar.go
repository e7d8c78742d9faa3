package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"gopkg.in/yaml.v3"
)

const (
	durationName  protoreflect.FullName = "google.protobuf.Duration"
	timestampName protoreflect.FullName = "google.protobuf.Timestamp"
)

// isScalar reports whether a message is written as one text.
func isScalar(md protoreflect.MessageDescriptor) bool {
	return md.FullName() == durationName || md.FullName() == timestampName
}

// text returns a scalar's text with variables replaced.
func (d *decoder) text(n *yaml.Node, path string) (string, bool) {
	n, ok := d.enter(n, path)
	if !ok {
		return "", false
	}
	d.leave()
	if n.Kind != yaml.ScalarNode || isNull(n) {
		d.wrong(n, path, "want a text, not %s", d.describe(n))
		return "", false
	}
	s, err := expand(n.Value, d.env)
	switch {
	case err != nil:
		d.wrong(n, path, "%s", err)
		return "", false
	case !utf8.ValidString(s):
		d.wrong(n, path, "is not UTF-8")
		return "", false
	}
	return s, true
}

// scalar returns the value of a field, or of one element of it.
func (d *decoder) scalar(n *yaml.Node, fd protoreflect.FieldDescriptor, path string) (protoreflect.Value, bool) {
	if r := followed(n); r.Kind != yaml.ScalarNode || isNull(r) {
		d.wrong(n, path, "want %s, not %s", wanted(fd), d.describe(r))
		return protoreflect.Value{}, false
	}
	s, ok := d.text(n, path)
	if !ok {
		return protoreflect.Value{}, false
	}
	v, err := parseScalar(fd, s)
	if err != nil {
		d.wrong(n, path, "want %s, not %s%s", wanted(fd), d.describe(followed(n)), err)
		return protoreflect.Value{}, false
	}
	return v, true
}

func followed(n *yaml.Node) *yaml.Node {
	for hops := 0; n.Kind == yaml.AliasNode && n.Alias != nil && hops < maxDepth; hops++ {
		n = n.Alias
	}
	return n
}

// remark is why a text is not what is wanted; it follows the refusal.
type remark string

func (r remark) Error() string {
	if r == "" {
		return ""
	}
	return "; " + string(r)
}

// parseScalar returns the value that s is for a field. Its error is a remark.
func parseScalar(fd protoreflect.FieldDescriptor, s string) (protoreflect.Value, error) {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(s), nil
	case protoreflect.BytesKind:
		b, err := base64.StdEncoding.DecodeString(s)
		return protoreflect.ValueOfBytes(b), remarkOf(err)
	case protoreflect.BoolKind:
		if s != "true" && s != "false" {
			return protoreflect.Value{}, remark("")
		}
		return protoreflect.ValueOfBool(s == "true"), nil
	case protoreflect.EnumKind:
		return parseEnum(fd.Enum(), s)
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return parseTime(fd.Message(), s)
	}
	return parseNumber(fd, s)
}

// remarkOf turns strconv's error into a remark of ours.
func remarkOf(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, strconv.ErrRange):
		return remark("it is out of range")
	}
	return remark("")
}

func parseNumber(fd protoreflect.FieldDescriptor, s string) (protoreflect.Value, error) {
	switch fd.Kind() {
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return protoreflect.Value{}, remark("")
		}
		if fd.Kind() == protoreflect.FloatKind {
			return protoreflect.ValueOfFloat32(float32(f)), nil
		}
		return protoreflect.ValueOfFloat64(f), nil
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		u, err := strconv.ParseUint(s, 10, 32)
		return protoreflect.ValueOfUint32(uint32(u)), remarkOf(err)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		u, err := strconv.ParseUint(s, 10, 64)
		return protoreflect.ValueOfUint64(u), remarkOf(err)
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		i, err := strconv.ParseInt(s, 10, 32)
		return protoreflect.ValueOfInt32(int32(i)), remarkOf(err)
	default:
		if IsSize(fd) {
			return parseSize(s)
		}
		i, err := strconv.ParseInt(s, 10, 64)
		return protoreflect.ValueOfInt64(i), remarkOf(err)
	}
}

// IsSize reports whether a field counts bytes, and takes units.
func IsSize(fd protoreflect.FieldDescriptor) bool {
	return fd.Kind() == protoreflect.Int64Kind && strings.HasSuffix(string(fd.Name()), "_bytes")
}

// unit is a multiple of a byte, binary (IEC 80000-13) or decimal.
type unit struct {
	name  string
	bytes int64
}

func units() []unit {
	return []unit{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1}}
}

func parseSize(s string) (protoreflect.Value, error) {
	factor := int64(1)
	for _, u := range units() {
		if number, ok := strings.CutSuffix(s, u.name); ok {
			s, factor = strings.TrimSuffix(number, " "), u.bytes
			break
		}
	}
	i, err := strconv.ParseInt(s, 10, 64)
	if err != nil || i > math.MaxInt64/factor || i < math.MinInt64/factor {
		return protoreflect.Value{}, remark("")
	}
	return protoreflect.ValueOfInt64(i * factor), nil
}

func formatSize(n int64) string {
	for _, u := range units()[:3] {
		if n > 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

func parseTime(md protoreflect.MessageDescriptor, s string) (protoreflect.Value, error) {
	var m proto.Message
	if md.FullName() == durationName {
		d, err := time.ParseDuration(s)
		if err != nil {
			return protoreflect.Value{}, remark("")
		}
		m = durationpb.New(d)
	} else {
		t, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t, err = time.Parse(time.DateOnly, s)
		}
		if err != nil || timestamppb.New(t).CheckValid() != nil {
			return protoreflect.Value{}, remark("")
		}
		m = timestamppb.New(t)
	}
	return protoreflect.ValueOfMessage(m.ProtoReflect()), nil
}

func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// parseEnum takes a value's name as in the file ("grpc-gateway") or as in the
// proto ("PROFILE_GRPC_GATEWAY").
func parseEnum(ed protoreflect.EnumDescriptor, s string) (protoreflect.Value, error) {
	names := EnumNames(ed)
	values := ed.Values()
	for i := range values.Len() {
		v := values.Get(i)
		if name := EnumName(v); v.Number() != 0 && (s == string(v.Name()) || name == strings.ReplaceAll(strings.ToLower(s), "_", "-")) {
			return protoreflect.ValueOfEnum(v.Number()), nil
		}
	}
	if best := nearest(s, names); best != "" {
		return protoreflect.Value{}, remark(fmt.Sprintf("did you mean %q?", best))
	}
	return protoreflect.Value{}, remark("")
}

// EnumNames are the values that can be written.
func EnumNames(ed protoreflect.EnumDescriptor) []string {
	var names []string
	for i := range ed.Values().Len() {
		if v := ed.Values().Get(i); v.Number() != 0 {
			names = append(names, EnumName(v))
		}
	}
	return names
}

// EnumName is how a value is written: PROFILE_GRPC_GATEWAY of enum Profile is
// "grpc-gateway", TLS_VERSION_1_2 of enum TlsVersion "1.2".
func EnumName(v protoreflect.EnumValueDescriptor) string {
	var prefix strings.Builder
	for i, r := range string(v.Parent().Name()) {
		if i > 0 && r >= 'A' && r <= 'Z' {
			prefix.WriteByte('_')
		}
		prefix.WriteRune(r)
	}
	name := strings.TrimPrefix(string(v.Name()), strings.ToUpper(prefix.String())+"_")
	if name[0] >= '0' && name[0] <= '9' {
		return strings.ReplaceAll(name, "_", ".")
	}
	return strings.ReplaceAll(strings.ToLower(name), "_", "-")
}

// wanted says what a field, or one element of it, takes.
func wanted(fd protoreflect.FieldDescriptor) string {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return "a text"
	case protoreflect.BytesKind:
		return "base64"
	case protoreflect.BoolKind:
		return "true or false"
	case protoreflect.EnumKind:
		return "one of " + strings.Join(EnumNames(fd.Enum()), ", ")
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return "a number"
	case protoreflect.MessageKind, protoreflect.GroupKind:
		switch fd.Message().FullName() {
		case durationName:
			return "a duration such as 5s, 1m30s or 250ms"
		case timestampName:
			return "a time such as 2026-10-01T12:00:00Z or 2026-10-01"
		}
		return "a mapping of fields"
	}
	if IsSize(fd) {
		return "a size such as 65536, 64KiB or 4MiB"
	}
	return "a whole number"
}

package ratelimit

import (
	"fmt"
	"math"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/transomhq/transom/rpc"
)

// fieldPath returns the fields along path, "page.size", in messages of type in.
func fieldPath(path string, in protoreflect.MessageDescriptor) ([]protoreflect.FieldDescriptor, error) {
	if in == nil {
		return nil, fmt.Errorf("%q: the request's type is not known", path)
	}
	var fields []protoreflect.FieldDescriptor
	at := in
	for name := range strings.SplitSeq(path, ".") {
		if at == nil {
			return nil, fmt.Errorf("%q: %q is no message", path, fields[len(fields)-1].Name())
		}
		fd := at.Fields().ByName(protoreflect.Name(name))
		if fd == nil {
			return nil, fmt.Errorf("%q: %s has no field %q", path, at.FullName(), name)
		}
		if len(fields) > 0 && fields[len(fields)-1].Cardinality() == protoreflect.Repeated {
			return nil, fmt.Errorf("%q: %q is a list", path, fields[len(fields)-1].Name())
		}
		fields = append(fields, fd)
		at = fd.Message()
	}
	return fields, nil
}

// valueAt returns the value at the end of fields; false where it is not set.
// Fields are found by number: the message may be of another copy of its type.
func valueAt(m protoreflect.Message, fields []protoreflect.FieldDescriptor) (protoreflect.Value, bool) {
	for i, fd := range fields {
		own := m.Descriptor().Fields().ByNumber(fd.Number())
		if own == nil || !m.Has(own) {
			return protoreflect.Value{}, false
		}
		v := m.Get(own)
		if i == len(fields)-1 {
			return v, true
		}
		m = v.Message()
	}
	return protoreflect.Value{}, false
}

// cost says how many units a call takes.
type cost struct {
	least  int64 // what every call costs
	fields []protoreflect.FieldDescriptor
}

// compileCost compiles a constant cost and a field that may raise it.
func compileCost(constant *int64, path string, in protoreflect.MessageDescriptor) (cost, error) {
	c := cost{least: 1}
	if constant != nil {
		c.least = *constant
	}
	if c.least < 0 {
		return c, fmt.Errorf("cost: want at least 0, not %d", c.least)
	}
	if path == "" {
		return c, nil
	}
	fields, err := fieldPath(path, in)
	if err != nil {
		return c, fmt.Errorf("cost_field: %w", err)
	}
	if last := fields[len(fields)-1]; last.Cardinality() != protoreflect.Repeated && !numeric(last.Kind()) {
		return c, fmt.Errorf("cost_field: %q of %s is neither a number nor a list", path, in.FullName())
	}
	c.fields = fields
	return c, nil
}

func numeric(k protoreflect.Kind) bool {
	switch k {
	case protoreflect.BoolKind, protoreflect.EnumKind, protoreflect.StringKind, protoreflect.BytesKind,
		protoreflect.MessageKind, protoreflect.GroupKind:
		return false
	}
	return true
}

// reads reports whether the request message is looked at.
func (c *cost) reads() bool { return c.fields != nil }

// of returns what a call costs: a field that is not set, or says less than the
// constant, leaves that. Nobody lowers the price of a call.
func (c *cost) of(by *caller) (int64, error) {
	if c.fields == nil {
		return c.least, nil
	}
	m, err := by.message()
	if err != nil {
		return 0, err
	}
	v, ok := valueAt(m, c.fields)
	if !ok {
		return c.least, nil
	}
	n, ok := units(v, c.fields[len(c.fields)-1])
	if !ok {
		return 0, rpc.Errorf(codes.InvalidArgument, "%s: not a number of units", c.fields[len(c.fields)-1].Name())
	}
	return max(n, c.least), nil
}

func units(v protoreflect.Value, fd protoreflect.FieldDescriptor) (int64, bool) {
	switch {
	case fd.IsMap():
		return int64(v.Map().Len()), true
	case fd.IsList():
		return int64(v.List().Len()), true
	}
	switch v.Interface().(type) {
	case int32, int64:
		return v.Int(), true
	case uint32, uint64:
		return int64(min(v.Uint(), math.MaxInt64)), true
	case float32, float64:
		f := math.Ceil(v.Float())
		if math.IsNaN(f) {
			return 0, false
		}
		if f >= math.MaxInt64 {
			return math.MaxInt64, true
		}
		return int64(max(f, 0)), true
	}
	return 0, false
}

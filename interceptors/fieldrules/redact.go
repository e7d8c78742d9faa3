package fieldrules

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/transomhq/transom/rpc"
)

// errMalformed says that bytes are no message.
var errMalformed = errors.New("malformed protobuf")

// maxDepth bounds nesting, as protobuf implementations do.
const maxDepth = 100

// redactor takes out of messages what a caller may not read.
type redactor struct {
	shapes *live
	who    *rpc.Principal
}

// redact returns wire without the guarded fields, wire itself where there is
// none. It never writes to wire.
func (r *redactor) redact(wire []byte, sh *shape, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, errMalformed
	}
	if sh.any {
		return r.redactAny(wire, depth)
	}
	var out []byte // nil: all of wire before at is kept
	changed := false
	kept := 0 // wire[kept:] is not decided yet
	for at := 0; at < len(wire); {
		num, typ, tag := protowire.ConsumeTag(wire[at:])
		if tag < 0 {
			return nil, errMalformed
		}
		size := protowire.ConsumeFieldValue(num, typ, wire[at+tag:])
		if size < 0 {
			return nil, errMalformed
		}
		end := at + tag + size
		f := sh.fields[num]
		if f == nil {
			at = end
			continue
		}
		var instead []byte
		drop := !f.admits(r.who)
		replaced := drop
		if !drop && f.inner != nil {
			var err error
			if instead, replaced, err = r.within(wire[at:end], tag, num, typ, f, depth); err != nil {
				return nil, err
			}
		}
		if replaced {
			out = append(append(out, wire[kept:at]...), instead...)
			changed, kept = true, end
		}
		at = end
	}
	if !changed {
		return wire, nil
	}
	return append(out, wire[kept:]...), nil
}

// within redacts the message that one field holds. entry is the whole field,
// its tag included.
func (r *redactor) within(entry []byte, tag int, num protowire.Number, typ protowire.Type, f *field, depth int) (instead []byte, replaced bool, err error) {
	content, ok := contentOf(entry[tag:], num, typ)
	if !ok {
		return nil, false, nil // not what the schema says: unknown to every reader
	}
	less, err := r.redact(content, f.inner, depth+1)
	if err != nil || len(less) == len(content) {
		return nil, false, err
	}
	instead = append(instead, entry[:tag]...)
	if typ == protowire.StartGroupType {
		return protowire.AppendTag(append(instead, less...), num, protowire.EndGroupType), true, nil
	}
	return protowire.AppendBytes(instead, less), true, nil
}

// contentOf returns the message that a field's value holds.
func contentOf(value []byte, num protowire.Number, typ protowire.Type) ([]byte, bool) {
	var content []byte
	n := -1
	switch typ {
	case protowire.BytesType:
		content, n = protowire.ConsumeBytes(value)
	case protowire.StartGroupType:
		content, n = protowire.ConsumeGroup(num, value)
	}
	return content, n >= 0
}

// redactAny redacts the message that a google.protobuf.Any holds. The last
// type URL counts, wherever it stands.
func (r *redactor) redactAny(wire []byte, depth int) ([]byte, error) {
	inner, err := r.shapes.ofAny(wire)
	if inner == nil || err != nil {
		return wire, err
	}
	holder := &shape{fields: map[protowire.Number]*field{anyValue: {inner: inner}}}
	return r.redact(wire, holder, depth)
}

package fieldrules

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/transomhq/transom/rpc"
)

// inspector finds what a caller may not set.
type inspector struct {
	shapes *live
	who    *rpc.Principal
}

// inspect returns the path of the first field in wire that the caller may not
// set, "" for none.
func (i *inspector) inspect(wire []byte, sh *shape, depth int) (path string, err error) {
	if depth > maxDepth {
		return "", errMalformed
	}
	if sh.any {
		inner, err := i.shapes.ofAny(wire)
		if inner == nil || err != nil {
			return "", err
		}
		sh = &shape{fields: map[protowire.Number]*field{anyValue: {name: "value", inner: inner}}}
	}
	for len(wire) > 0 {
		num, typ, tag := protowire.ConsumeTag(wire)
		if tag < 0 {
			return "", errMalformed
		}
		size := protowire.ConsumeFieldValue(num, typ, wire[tag:])
		if size < 0 {
			return "", errMalformed
		}
		value := wire[tag : tag+size]
		wire = wire[tag+size:]
		f := sh.fields[num]
		switch {
		case f == nil:
		case !f.admits(i.who):
			return f.name, nil
		case f.inner != nil:
			content, ok := contentOf(value, num, typ)
			if !ok {
				continue
			}
			if path, err := i.inspect(content, f.inner, depth+1); err != nil || path != "" {
				return f.name + "." + path, err
			}
		}
		if path := i.mask(value, num, typ, sh); path != "" {
			return path, nil
		}
	}
	return "", nil
}

// mask returns the field of a message beside a field mask that the mask names,
// or covers, and that the caller may not set: an update would set it to what
// is not sent (AIP-134).
func (i *inspector) mask(value []byte, num protowire.Number, typ protowire.Type, sh *shape) string {
	if !sh.isMask(num) {
		return ""
	}
	content, _ := contentOf(value, num, typ)
	for len(content) > 0 {
		n, t, tag := protowire.ConsumeTag(content)
		size := protowire.ConsumeFieldValue(n, t, content[max(tag, 0):])
		if tag < 0 || size < 0 {
			return ""
		}
		path, ok := contentOf(content[tag:tag+size], n, t)
		content = content[tag+size:]
		if n != 1 || !ok {
			continue
		}
		for _, number := range slices.Sorted(maps.Keys(sh.fields)) {
			beside := sh.fields[number]
			if beside.inner == nil || beside.many || sh.isMask(number) {
				continue
			}
			if named := i.named(string(path), beside.inner, map[*shape]bool{}); named != "" {
				return beside.name + "." + named
			}
		}
	}
	return ""
}

func (sh *shape) isMask(num protowire.Number) bool {
	for _, m := range sh.masks {
		if m == num {
			return true
		}
	}
	return false
}

// named returns the guarded field that a mask's path names, lies in, or
// covers. seen are the messages that were covered whole already.
func (i *inspector) named(path string, sh *shape, seen map[*shape]bool) string {
	first, rest, _ := strings.Cut(path, ".")
	first = strings.Trim(first, "`")
	whole := first == "" || first == "*"
	if whole {
		if seen[sh] {
			return ""
		}
		seen[sh], rest = true, ""
	}
	for _, n := range slices.Sorted(maps.Keys(sh.fields)) {
		f := sh.fields[n]
		if !whole && canonical(first) != canonical(f.name) {
			continue
		}
		if !f.admits(i.who) {
			return f.name
		}
		if f.inner == nil {
			continue
		}
		if named := i.named(rest, f.inner, seen); named != "" {
			return f.name + "." + named
		}
	}
	return ""
}

// canonical makes the two spellings of a field's name one: masks in JSON are
// in lowerCamelCase.
func canonical(name string) string { return strings.ToLower(strings.ReplaceAll(name, "_", "")) }

// refusal is PERMISSION_DENIED that names the field.
func refusal(path string) error {
	return rpc.Errorf(codes.PermissionDenied, "the field %s may not be set by this caller", path).WithDetails(
		&errdetails.ErrorInfo{Reason: "FIELD_NOT_WRITABLE", Domain: "transom", Metadata: map[string]string{"field": path}})
}

func malformed(sh *shape, err error) error {
	return rpc.Errorf(codes.InvalidArgument, "the request is not a valid %s message", sh.desc.FullName()).WithCause(err)
}

func unreadable(sh *shape, err error) error {
	return rpc.Errorf(codes.Internal, "internal error").WithCause(fmt.Errorf("response %s: %w", sh.desc.FullName(), err))
}

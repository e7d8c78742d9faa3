package direct

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/transomhq/transom/transcoder/codec"
	"github.com/transomhq/transom/transcoder/codec/internal/testpb"
	reflectcodec "github.com/transomhq/transom/transcoder/codec/reflect"
)

// pair is a root compiled by both codecs.
type pair struct {
	root         codec.Root
	opts         codec.Options
	fast, oracle codec.Plan
}

func newPair(t testing.TB, c codec.Codec, root codec.Root, opts codec.Options) *pair {
	t.Helper()
	p := &pair{root: root, opts: opts}
	var err error
	if p.fast, err = c.Compile(root, opts); err != nil {
		t.Fatal(err)
	}
	if p.oracle, err = reflectcodec.New().Compile(root, opts); err != nil {
		t.Fatal(err)
	}
	return p
}

// kindOf is the kind of a codec's error, -1 for none. Any other error is a bug.
func kindOf(err error) (codec.Kind, error) {
	if err == nil {
		return -1, nil
	}
	var e *codec.Error
	if !errors.As(err, &e) {
		return -1, fmt.Errorf("error of type %T: %w", err, err)
	}
	return e.Kind, nil
}

// in compares both codecs on a JSON text.
func (p *pair) in(text []byte) error {
	prefix := []byte("prefix")
	got, err := p.fast.AppendWire(prefix, text)
	want, wantErr := p.oracle.AppendWire(nil, text)
	kind, bad := kindOf(err)
	if bad != nil {
		return bad
	}
	if (err == nil) != (wantErr == nil) {
		return fmt.Errorf("in: error %v, want %v", err, wantErr) //nolint:errorlint // a finding, nothing to unwrap
	}
	if !bytes.HasPrefix(got, prefix) {
		return fmt.Errorf("in: the prefix was lost")
	}
	if err != nil {
		if wantKind, _ := kindOf(wantErr); kind != wantKind && kind != codec.TooLarge && wantKind != codec.TooLarge {
			return p.otherKind(text, err, wantErr)
		}
		return nil
	}
	return p.sameWire(got[len(prefix):], want)
}

// otherKind allows for two mistakes in a text, of which each codec finds
// another one first: the reference checks the syntax before all else.
func (p *pair) otherKind(text []byte, err, wantErr error) error {
	kind, _ := kindOf(err)
	wantKind, _ := kindOf(wantErr)
	if kind == codec.UnknownField && wantKind == codec.BadText || kind == codec.BadText && wantKind == codec.UnknownField {
		var a, b *codec.Error
		errors.As(err, &a)
		errors.As(wantErr, &b)
		if a.Line != b.Line || a.Column != b.Column {
			return nil
		}
	}
	return fmt.Errorf("in: kind of %v differs from %v", err, wantErr) //nolint:errorlint // a finding, nothing to unwrap
}

// sameWire compares two wire forms as messages, and their lengths: no byte too
// many is written.
func (p *pair) sameWire(got, want []byte) error {
	a, b := dynamicpb.NewMessage(p.root.Message), dynamicpb.NewMessage(p.root.Message)
	opts := proto.UnmarshalOptions{AllowPartial: true, Resolver: p.opts.Resolver, RecursionLimit: 10000}
	if err := opts.Unmarshal(got, a); err != nil {
		return fmt.Errorf("in: result does not decode: %w (%x)", err, got)
	}
	if err := opts.Unmarshal(want, b); err != nil {
		return fmt.Errorf("in: oracle's result does not decode: %w", err)
	}
	if len(got) != len(want) {
		return fmt.Errorf("in: %d bytes, want %d:\n%x\n%x", len(got), len(want), got, want)
	}
	if !proto.Equal(a, b) && !sameWithAny(a, b) {
		return fmt.Errorf("in: differs:\n%v\n%v", a, b)
	}
	return nil
}

// sameWithAny compares messages whose Anys may differ in the order of bytes.
func sameWithAny(a, b protoreflect.ProtoMessage) bool {
	x, errA := proto.MarshalOptions{Deterministic: true, AllowPartial: true}.Marshal(normalAny(a))
	y, errB := proto.MarshalOptions{Deterministic: true, AllowPartial: true}.Marshal(normalAny(b))
	return errA == nil && errB == nil && bytes.Equal(x, y)
}

// normalAny brings the bytes inside Anys into one order.
func normalAny(m protoreflect.ProtoMessage) protoreflect.ProtoMessage {
	visit(m.ProtoReflect(), func(m protoreflect.Message) {
		fields := m.Descriptor().Fields()
		typ, err := resolverForTest.FindMessageByURL(m.Get(fields.ByNumber(1)).String())
		if err != nil {
			return
		}
		inner := typ.New()
		opts := proto.UnmarshalOptions{AllowPartial: true, Resolver: resolverForTest, RecursionLimit: 10000}
		if opts.Unmarshal(m.Get(fields.ByNumber(2)).Bytes(), inner.Interface()) != nil {
			return
		}
		normalAny(inner.Interface())
		b, _ := proto.MarshalOptions{Deterministic: true, AllowPartial: true}.Marshal(inner.Interface())
		if len(b) > 0 {
			m.Set(fields.ByNumber(2), protoreflect.ValueOfBytes(b))
		}
	})
	return m
}

// visit calls f for every Any in m.
func visit(m protoreflect.Message, f func(protoreflect.Message)) {
	if m.Descriptor().FullName() == "google.protobuf.Any" {
		f(m)
		return
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsMap() && fd.MapValue().Message() != nil:
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				visit(v.Message(), f)
				return true
			})
		case fd.IsList() && fd.Message() != nil:
			for i := range v.List().Len() {
				visit(v.List().Get(i).Message(), f)
			}
		case !fd.IsMap() && !fd.IsList() && fd.Message() != nil:
			visit(v.Message(), f)
		}
		return true
	})
}

// out compares both codecs on wire bytes.
func (p *pair) out(wire []byte) error {
	prefix := []byte("prefix")
	got, err := p.fast.AppendJSON(prefix, wire)
	want, wantErr := p.oracle.AppendJSON(nil, wire)
	if _, bad := kindOf(err); bad != nil {
		return bad
	}
	if wantErr != nil && strings.Contains(wantErr.Error(), "by reflection") {
		return nil // protobuf-go panics for a proto2 map entry without a key
	}
	if (err == nil) != (wantErr == nil) {
		return fmt.Errorf("out: error %v, want %v", err, wantErr) //nolint:errorlint // a finding, nothing to unwrap
	}
	if !bytes.HasPrefix(got, prefix) {
		return fmt.Errorf("out: the prefix was lost")
	}
	if err != nil {
		return nil //nolint:nilerr // both refuse
	}
	return sameJSON(got[len(prefix):], want)
}

// sameJSON compares two texts as values, numbers by their digits.
func sameJSON(got, want []byte) error {
	a, err := parseJSON(got)
	if err != nil {
		return fmt.Errorf("out: not JSON: %w: %s", err, got)
	}
	b, err := parseJSON(want)
	if err != nil {
		return fmt.Errorf("out: oracle is not JSON: %w", err)
	}
	if !reflect.DeepEqual(a, b) || len(got) != len(want) {
		return fmt.Errorf("out: differs:\n got %s\nwant %s", got, want)
	}
	return nil
}

func parseJSON(text []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}

func everything() protoreflect.MessageDescriptor {
	return (&testpb.Everything{}).ProtoReflect().Descriptor()
}

package fieldrules

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/transomhq/transom/rpc"
)

// Options configure a Guard.
type Options struct {
	Methods []protoreflect.MethodDescriptor
	// Types finds what google.protobuf.Any holds, and extensions. nil: no Any
	// is looked into.
	Types Types
}

// Guard keeps guarded fields from those who may not read or set them.
type Guard struct {
	methods     map[string]*method
	read, write *live
}

// method is what is guarded in a method's messages; nil for nothing.
type method struct{ request, response *shape }

// New works out where guarded fields are.
func New(opts Options) *Guard {
	g := &Guard{methods: map[string]*method{}, read: newLive(reading, opts.Types), write: newLive(writing, opts.Types)}
	for _, m := range opts.Methods {
		one := &method{request: g.write.of(m.Input()), response: g.read.of(m.Output())}
		if one.request != nil || one.response != nil {
			g.methods["/"+string(m.Parent().FullName())+"/"+string(m.Name())] = one
		}
	}
	return g
}

// Applies reports whether messages of a method, given by its full name, may
// have guarded fields.
func (g *Guard) Applies(method string) bool { return g.methods[method] != nil }

// Unary returns the interceptor for unary calls.
func (g *Guard) Unary() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		m := g.methods[info.FullMethod]
		if m == nil {
			return next(ctx, req)
		}
		who := rpc.FromContext(ctx).Principal()
		if err := g.admit(m, who, req); err != nil {
			return nil, err
		}
		resp, err := next(ctx, req)
		if err != nil {
			return nil, err
		}
		return g.strip(m, who, resp)
	}
}

// Stream returns the interceptor for all other calls.
func (g *Guard) Stream() grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		m := g.methods[info.FullMethod]
		if m == nil {
			return next(srv, ss)
		}
		s := &stream{ServerStream: ss, guard: g, method: m, call: rpc.FromContext(ss.Context())}
		err := next(srv, s)
		if refused := s.refused.Load(); refused != nil {
			return *refused
		}
		return err
	}
}

// admit returns why a request is refused.
func (g *Guard) admit(m *method, who *rpc.Principal, req any) error {
	if m.request == nil {
		return nil
	}
	wire, err := bytesOf(req)
	if err != nil {
		return err
	}
	i := &inspector{shapes: g.write, who: who}
	path, err := i.inspect(wire, m.request, 0)
	switch {
	case err != nil:
		return malformed(m.request, err)
	case path != "":
		return refusal(path)
	}
	return nil
}

// strip returns a response without what the caller may not read.
func (g *Guard) strip(m *method, who *rpc.Principal, resp any) (any, error) {
	if m.response == nil {
		return resp, nil
	}
	wire, err := bytesOf(resp)
	if err != nil {
		return nil, err
	}
	r := &redactor{shapes: g.read, who: who}
	less, err := r.redact(wire, m.response, 0)
	if err != nil {
		return nil, unreadable(m.response, err)
	}
	if len(less) == len(wire) {
		return resp, nil
	}
	switch resp := resp.(type) {
	case *rpc.Message:
		resp.SetBytes(less)
		return resp, nil
	case proto.Message: // a service's own: it may keep it
		out := resp.ProtoReflect().New().Interface()
		err := proto.UnmarshalOptions{AllowPartial: true}.Unmarshal(less, out)
		return out, err
	}
	return nil, rpc.Errorf(codes.Internal, "internal error").WithCause(fmt.Errorf("message is a %T", resp))
}

func bytesOf(msg any) ([]byte, error) {
	switch msg := msg.(type) {
	case *rpc.Message:
		return msg.Bytes()
	case proto.Message:
		return proto.MarshalOptions{AllowPartial: true}.Marshal(msg)
	}
	return nil, rpc.Errorf(codes.Internal, "internal error").WithCause(fmt.Errorf("message is a %T", msg))
}

// anyValue is the number of google.protobuf.Any.value.
const anyValue = 2

// live finds shapes, also of types that come as google.protobuf.Any.
type live struct {
	mu    sync.Mutex
	make  shapes
	known map[protoreflect.MessageDescriptor]*shape
}

func newLive(s side, types Types) *live {
	return &live{make: shapes{side: s, types: types}, known: map[protoreflect.MessageDescriptor]*shape{}}
}

func (l *live) of(md protoreflect.MessageDescriptor) *shape {
	l.mu.Lock()
	defer l.mu.Unlock()
	sh, ok := l.known[md]
	if !ok {
		sh = l.make.of(md)
		l.known[md] = sh
	}
	return sh
}

// ofAny returns the shape of what an Any holds; nil where nothing is guarded,
// or where nobody knows the type: then no reader here does.
func (l *live) ofAny(wire []byte) (*shape, error) {
	var url []byte
	for len(wire) > 0 {
		num, typ, tag := protowire.ConsumeTag(wire)
		if tag < 0 {
			return nil, errMalformed
		}
		size := protowire.ConsumeFieldValue(num, typ, wire[tag:])
		if size < 0 {
			return nil, errMalformed
		}
		if num == 1 && typ == protowire.BytesType {
			url, _ = protowire.ConsumeBytes(wire[tag:])
		}
		wire = wire[tag+size:]
	}
	mt, err := l.make.types.FindMessageByURL(string(url))
	if err != nil {
		return nil, nil //nolint:nilerr // see above
	}
	return l.of(mt.Descriptor()), nil
}

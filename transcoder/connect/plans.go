package connect

import (
	"errors"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"

	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/transcoder/codec"
)

// plans are the JSON plans of the methods that were called in JSON so far.
type plans struct {
	codec    codec.Codec
	resolver codec.Resolver
	byMethod sync.Map // *rpc.Method to *methodPlans
}

// methodPlans are the plans of one method.
type methodPlans struct {
	once    sync.Once
	in, out codec.Plan
	err     error
}

func (p *plans) of(m *rpc.Method) (*methodPlans, *rpc.Error) {
	v, ok := p.byMethod.Load(m)
	if !ok {
		v, _ = p.byMethod.LoadOrStore(m, new(methodPlans))
	}
	mp := v.(*methodPlans)
	mp.once.Do(func() {
		// As connect-go's clients and servers do, members that a newer client
		// knows are passed over.
		opts := codec.Options{DiscardUnknown: true, Resolver: p.resolver}
		if mp.in, mp.err = p.codec.Compile(codec.Root{Message: m.Desc.Input()}, opts); mp.err == nil {
			mp.out, mp.err = p.codec.Compile(codec.Root{Message: m.Desc.Output()}, opts)
		}
	})
	if mp.err != nil {
		return nil, rpc.Errorf(codes.Internal, "%s cannot be called in JSON: use protobuf", m.Name).WithCause(mp.err)
	}
	return mp, nil
}

// toWire turns the JSON text of a request, which it frees, into wire bytes.
func (p *methodPlans) toWire(text mem.BufferSlice) (mem.BufferSlice, error) {
	one := text.MaterializeToBuffer(mem.DefaultBufferPool())
	text.Free()
	defer one.Free()
	wire, err := p.in.AppendWire(make([]byte, 0, one.Len()), one.ReadOnlyData())
	if err != nil {
		var e *codec.Error
		if !errors.As(err, &e) {
			return nil, rpc.Errorf(codes.Internal, "internal error").WithCause(err)
		}
		return nil, rpc.Errorf(codes.InvalidArgument, "%s", e.Error()).WithCause(err)
	}
	return mem.BufferSlice{mem.SliceBuffer(wire)}, nil
}

// toJSON turns a response, which stays the caller's, into JSON text.
func (p *methodPlans) toJSON(wire mem.BufferSlice) (mem.BufferSlice, error) {
	one := wire.MaterializeToBuffer(mem.DefaultBufferPool())
	defer one.Free()
	text, err := p.out.AppendJSON(make([]byte, 0, 2*one.Len()+16), one.ReadOnlyData())
	if err != nil {
		return nil, rpc.Errorf(codes.Internal, "the response has no JSON form").WithCause(err)
	}
	return mem.BufferSlice{mem.SliceBuffer(text)}, nil
}

package doortest

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/transomhq/transom/rpc"
)

// Relay is an rpc.Handler that passes calls on to a gRPC server, undecoded.
type Relay struct {
	Conn grpc.ClientConnInterface
}

// Unary implements rpc.Handler.
func (h Relay) Unary(ctx context.Context, call *rpc.Call, req *rpc.Message) (*rpc.Message, error) {
	if err := req.Load(); err != nil {
		return nil, err
	}
	var header, trailer metadata.MD
	resp := rpc.NewMessage(call.Method.Desc.Output())
	err := h.Conn.Invoke(outgoing(ctx), call.Method.Name, req, resp,
		grpc.ForceCodecV2(rpc.Codec{}), grpc.Header(&header), grpc.Trailer(&trailer))
	if e := grpc.SetHeader(ctx, header); e != nil {
		return nil, e
	}
	if e := grpc.SetTrailer(ctx, trailer); e != nil {
		return nil, e
	}
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// Stream implements rpc.Handler.
func (h Relay) Stream(call *rpc.Call, stream grpc.ServerStream) error {
	ctx, cancel := context.WithCancel(outgoing(stream.Context()))
	defer cancel()
	desc := &grpc.StreamDesc{ClientStreams: call.Method.ClientStreams, ServerStreams: call.Method.ServerStreams}
	up, err := h.Conn.NewStream(ctx, desc, call.Method.Name, grpc.ForceCodecV2(rpc.Codec{}))
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() {
		if err := h.request(call, stream, up); err != nil {
			failed <- err
			cancel()
		}
	}()
	err = h.response(call, stream, up)
	stream.SetTrailer(up.Trailer())
	select {
	case cause := <-failed:
		return cause
	default:
		return err
	}
}

func (h Relay) request(call *rpc.Call, from grpc.ServerStream, to grpc.ClientStream) error {
	for {
		m := rpc.NewMessage(call.Method.Desc.Input())
		switch err := from.RecvMsg(m); {
		case errors.Is(err, io.EOF):
			return to.CloseSend()
		case err != nil:
			return err
		}
		err := to.SendMsg(m)
		m.Free()
		if errors.Is(err, io.EOF) { // the answer says why
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (h Relay) response(call *rpc.Call, to grpc.ServerStream, from grpc.ClientStream) error {
	header, err := from.Header()
	if err == nil && header != nil {
		err = to.SendHeader(header)
	}
	if err != nil {
		return err
	}
	for {
		m := rpc.NewMessage(call.Method.Desc.Output())
		if err := from.RecvMsg(m); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		err := to.SendMsg(m)
		m.Free()
		if err != nil {
			return err
		}
	}
}

// outgoing passes all metadata on.
func outgoing(ctx context.Context) context.Context {
	md, _ := metadata.FromIncomingContext(ctx)
	return metadata.NewOutgoingContext(ctx, md)
}

// Methods returns the methods of services by their names "/pkg.Service/Method".
func Methods(services ...protoreflect.ServiceDescriptor) map[string]*rpc.Method {
	methods := map[string]*rpc.Method{}
	for _, s := range services {
		for i := range s.Methods().Len() {
			m := rpc.NewMethod(s.Methods().Get(i))
			methods[m.Name] = m
		}
	}
	return methods
}

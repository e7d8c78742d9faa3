package main

import (
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
)

// raw is a gRPC codec that passes bytes: *[]byte.
type raw struct{}

func (raw) Name() string { return "proto" }

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// serveBackend answers every method with bytes that were made once.
func serveBackend(addr string) error {
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	answers := replies()
	srv := grpc.NewServer(grpc.ForceServerCodecV2(raw{}), grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(s)
		answer, ok := answers[method]
		if !ok { // the generated methods of the route counts
			answer = nil
		}
		var req []byte
		if err := s.RecvMsg(&req); err != nil {
			return err
		}
		n := 1
		if method == trackOrder {
			n = streamLength
		}
		for range n {
			if err := s.SendMsg(&answer); err != nil {
				return err
			}
		}
		return nil
	}))
	return srv.Serve(lis)
}

// serveRelay is the least that a gRPC gateway on grpc-go does: it passes bytes
// of any method on.
func serveRelay(addr, backend string) error {
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	conn, err := dial(backend)
	if err != nil {
		return err
	}
	desc := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	srv := grpc.NewServer(grpc.ForceServerCodecV2(raw{}), grpc.UnknownServiceHandler(func(_ any, down grpc.ServerStream) error {
		method, ok := grpc.MethodFromServerStream(down)
		if !ok {
			return status.Error(codes.Internal, "no method")
		}
		var msg []byte
		if err := down.RecvMsg(&msg); err != nil {
			return err
		}
		up, err := conn.NewStream(down.Context(), desc, method)
		if err != nil {
			return err
		}
		if err := up.SendMsg(&msg); err != nil {
			return err
		}
		if err := up.CloseSend(); err != nil {
			return err
		}
		for {
			if err := up.RecvMsg(&msg); err != nil {
				return endOf(err)
			}
			if err := down.SendMsg(&msg); err != nil {
				return err
			}
		}
	}))
	return srv.Serve(lis)
}

func dial(addr string) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient(addr, grpcOptions()...)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	conn.Connect()
	return conn, nil
}

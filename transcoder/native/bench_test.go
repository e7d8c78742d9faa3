package native_test

import (
	"context"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/transcoder/native"
)

// fixed answers every call with the same bytes, once the request is read.
type fixed struct{ answer []byte }

func (f fixed) Unary(_ context.Context, call *rpc.Call, req *rpc.Message) (*rpc.Message, error) {
	if err := req.Load(); err != nil {
		return nil, err
	}
	m := rpc.NewMessage(call.Method.Desc.Output())
	m.SetBytes(f.answer)
	return m, nil
}

func (f fixed) Stream(call *rpc.Call, s grpc.ServerStream) error {
	m := rpc.NewMessage(call.Method.Desc.Input())
	defer m.Free()
	if err := s.RecvMsg(m); err != nil {
		return err
	}
	answer := rpc.NewMessage(call.Method.Desc.Output())
	answer.SetBytes(f.answer)
	for range streamLength {
		if err := s.SendMsg(answer); err != nil {
			return err
		}
	}
	return nil
}

const streamLength = 1000

// BenchmarkDoor measures the door beside a bare grpc-go server with
// UnknownServiceHandler. Both pass bytes through undecoded; the figures hold
// the same grpc-go client. A stream's figure is for 1,000 messages.
func BenchmarkDoor(b *testing.B) {
	msg := &testgrpc.SimpleResponse{Payload: &testgrpc.Payload{Body: make([]byte, 295)}}
	answer, _ := proto.Marshal(msg)
	f := fixed{answer}
	door := func(b *testing.B) *grpc.ClientConn { return dial(b, gateway(b, false, native.Options{Handler: f})) }
	for name, start := range map[string]func(*testing.B) *grpc.ClientConn{"transom": door, "grpc-go": f.bare} {
		b.Run("unary/"+name, func(b *testing.B) { benchUnary(b, start(b)) })
		b.Run("stream/"+name, func(b *testing.B) { benchStream(b, start(b)) })
	}
}

func benchUnary(b *testing.B, conn *grpc.ClientConn) {
	req := rpc.NewMessage(testgrpc.File_grpc_testing_messages_proto.Messages().ByName("SimpleRequest"))
	req.SetBytes(make([]byte, 0))
	payload, _ := proto.Marshal(&testgrpc.SimpleRequest{Payload: &testgrpc.Payload{Body: make([]byte, 295)}})
	req.SetBuffers(mem.BufferSlice{mem.SliceBuffer(payload)})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			resp := rpc.NewMessage(testgrpc.File_grpc_testing_messages_proto.Messages().ByName("SimpleResponse"))
			if err := conn.Invoke(b.Context(), "/grpc.testing.TestService/UnaryCall", req, resp, grpc.ForceCodecV2(rpc.Codec{})); err != nil {
				b.Error(err)
				return
			}
			resp.Free()
		}
	})
}

func benchStream(b *testing.B, conn *grpc.ClientConn) {
	tc := testgrpc.NewTestServiceClient(conn)
	b.ReportAllocs()
	for b.Loop() {
		s, err := tc.StreamingOutputCall(b.Context(), &testgrpc.StreamingOutputCallRequest{}, grpc.ForceCodecV2(rpc.Codec{}))
		if err != nil {
			b.Fatal(err)
		}
		for range streamLength {
			if err := s.RecvMsg(rpc.NewMessage(nil)); err != nil {
				b.Fatal(err)
			}
		}
		if err := s.RecvMsg(rpc.NewMessage(nil)); err == nil {
			b.Fatal("too many messages")
		}
	}
}

// bare serves the same answers with grpc-go alone.
func (f fixed) bare(b *testing.B) *grpc.ClientConn {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	methods := testMethods()
	srv := grpc.NewServer(grpc.ForceServerCodecV2(rpc.Codec{}), grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
		name, _ := grpc.MethodFromServerStream(s)
		call := rpc.NewCall(nil)
		call.Method = methods[name]
		if !call.Method.Unary() {
			return f.Stream(call, s)
		}
		m := rpc.NewMessage(call.Method.Desc.Input())
		defer m.Free()
		if err := s.RecvMsg(m); err != nil {
			return err
		}
		resp, err := f.Unary(s.Context(), call, m)
		if err != nil {
			return err
		}
		return s.SendMsg(resp)
	}))
	go func() { _ = srv.Serve(lis) }()
	b.Cleanup(srv.Stop)
	conn, err := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	return conn
}

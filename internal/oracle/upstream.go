package oracle

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Reply is what upstream answers to a call.
type Reply struct {
	Header, Trailer metadata.MD
	Messages        []proto.Message
	Status          *spb.Status // nil is OK
}

// Call is one call as it reached upstream.
type Call struct {
	Method   string // "/pkg.Service/Method"
	Metadata metadata.MD
	Timeout  time.Duration // until the deadline, 0 where there was none
	Messages []proto.Message
	Err      error // why reading the request ended early
}

// Upstream is a gRPC server that knows every method, records its calls and
// answers as it was told. It serves one case at a time.
type Upstream struct {
	Addr   string
	server *grpc.Server
	done   chan error

	mu    sync.Mutex
	idle  *sync.Cond
	busy  int
	reply Reply
	calls []Call
}

// NewUpstream starts an upstream on a loopback port. Close ends it.
func NewUpstream() (*Upstream, error) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	u := &Upstream{Addr: lis.Addr().String(), done: make(chan error, 1)}
	u.idle = sync.NewCond(&u.mu)
	u.server = grpc.NewServer(grpc.UnknownServiceHandler(u.serve), grpc.ForceServerCodecV2(rawCodec{}))
	go func() { u.done <- u.server.Serve(lis) }()
	return u, nil
}

// Close ends the server and its calls.
func (u *Upstream) Close() error {
	u.server.Stop()
	return <-u.done
}

// Script says how the following calls are answered, and forgets earlier calls.
func (u *Upstream) Script(reply Reply) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.reply, u.calls = reply, nil
}

// Calls waits until no call is running and returns those since Script.
func (u *Upstream) Calls() []Call {
	u.mu.Lock()
	defer u.mu.Unlock()
	for u.busy > 0 {
		u.idle.Wait()
	}
	return u.calls
}

func (u *Upstream) serve(_ any, stream grpc.ServerStream) error {
	u.mu.Lock()
	u.busy++
	reply := u.reply
	u.mu.Unlock()
	call := u.receive(stream)
	err := answer(stream, typed(reply, call.Method))
	u.mu.Lock()
	defer u.mu.Unlock()
	if call.Err == nil || len(call.Messages) > 0 { // one that was given up before its request came is no call
		u.calls = append(u.calls, call)
	}
	u.busy--
	u.idle.Broadcast()
	return err
}

func (u *Upstream) receive(stream grpc.ServerStream) Call {
	ctx := stream.Context()
	call := Call{}
	call.Method, _ = grpc.MethodFromServerStream(stream)
	call.Metadata, _ = metadata.FromIncomingContext(ctx)
	if deadline, ok := ctx.Deadline(); ok {
		call.Timeout = time.Until(deadline)
	}
	method, err := findMethod(call.Method)
	if err != nil {
		call.Err = err
		return call
	}
	for {
		var raw []byte
		if err := stream.RecvMsg(&raw); err != nil {
			if !errors.Is(err, io.EOF) {
				call.Err = err
			}
			return call
		}
		m, err := newMessage(method.Input().FullName())
		if err == nil {
			err = proto.Unmarshal(raw, m)
		}
		if err != nil {
			call.Err = err
			return call
		}
		call.Messages = append(call.Messages, m)
	}
}

// typed returns the reply with empty messages of the method's type where the
// case was made for another method than the one that it reached.
func typed(reply Reply, name string) Reply {
	method, err := findMethod(name)
	if err != nil {
		return reply
	}
	messages := make([]proto.Message, len(reply.Messages))
	for i, m := range reply.Messages {
		messages[i] = m
		if m.ProtoReflect().Descriptor().FullName() == method.Output().FullName() {
			continue
		}
		if messages[i], err = newMessage(method.Output().FullName()); err != nil {
			return reply
		}
	}
	if len(messages) > 1 && !method.IsStreamingServer() {
		messages = messages[:1]
	}
	reply.Messages = messages
	return reply
}

func answer(stream grpc.ServerStream, reply Reply) error {
	if len(reply.Header) > 0 {
		if err := stream.SendHeader(reply.Header); err != nil {
			return err
		}
	}
	stream.SetTrailer(reply.Trailer)
	for _, m := range reply.Messages {
		raw, err := proto.Marshal(m)
		if err != nil {
			return err
		}
		if err := stream.SendMsg(raw); err != nil {
			return err
		}
	}
	return status.ErrorProto(reply.Status)
}

// Streams reports whether the method that was called is not unary.
func (c *Call) Streams() bool {
	method, err := findMethod(c.Method)
	return err == nil && (method.IsStreamingClient() || method.IsStreamingServer())
}

// findMethod returns the method of a full name as gRPC writes it.
func findMethod(name string) (protoreflect.MethodDescriptor, error) {
	full := protoreflect.FullName(name[1:])
	for i := range full {
		if full[i] == '/' {
			full = full[:i] + "." + full[i+1:]
			break
		}
	}
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(full)
	if err != nil {
		return nil, err
	}
	method, ok := d.(protoreflect.MethodDescriptor)
	if !ok {
		return nil, fmt.Errorf("%s is not a method", full)
	}
	return method, nil
}

func newMessage(name protoreflect.FullName) (proto.Message, error) {
	t, err := protoregistry.GlobalTypes.FindMessageByName(name)
	if err != nil {
		return nil, err
	}
	return t.New().Interface(), nil
}

// rawCodec passes messages as their bytes: *[]byte in, []byte out.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("cannot send a %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("cannot receive a %T", v)
	}
	*b = data.Materialize()
	return nil
}

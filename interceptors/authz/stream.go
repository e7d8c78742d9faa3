package authz

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/transomhq/transom/rpc"
)

// stream is a call that was admitted. Where rules look at messages, its first
// one was read already, and is handed on by the first RecvMsg.
type stream struct {
	grpc.ServerStream
	ctx   context.Context
	plan  *plan
	facts *facts // the receiver's, once the handler runs

	first   *rpc.Message // nil after it was handed on
	ended   bool         // there was no message at all
	refused atomic.Pointer[error]
}

func (s *stream) Context() context.Context { return s.ctx }

// open reads the first message and judges it. A client that ends its side
// without one is judged by an empty one: what nobody said has its zero value.
func (s *stream) open() error {
	desc := s.plan.input
	first := rpc.NewMessage(desc)
	switch err := s.ServerStream.RecvMsg(first); {
	case errors.Is(err, io.EOF):
		s.ended = true
	case err != nil:
		return err
	default:
		s.first = first
	}
	s.facts.again(first)
	ctx, err := s.plan.admitMessage(s.ctx, s.facts)
	if err != nil {
		first.Free()
		return err
	}
	s.ctx, s.facts.ctx = ctx, ctx
	return nil
}

// RecvMsg receives the next message that the rules let pass.
func (s *stream) RecvMsg(m any) error {
	if !s.plan.reads {
		return s.ServerStream.RecvMsg(m)
	}
	if refused := s.refused.Load(); refused != nil {
		return *refused
	}
	switch {
	case s.ended:
		return io.EOF
	case s.first != nil:
		first := s.first
		s.first = nil
		return handOn(first, m)
	}
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	s.facts.again(m)
	if err := s.plan.judgeMessage(s.facts); err != nil {
		s.refused.Store(&err)
		return err
	}
	return nil
}

// handOn makes dst what first is.
func handOn(first *rpc.Message, dst any) error {
	defer first.Free()
	bufs, err := first.Buffers()
	if err != nil {
		return err
	}
	switch dst := dst.(type) {
	case *rpc.Message:
		bufs.Ref()
		dst.SetBuffers(bufs)
		return nil
	case proto.Message:
		b, err := first.Bytes()
		if err == nil {
			err = proto.Unmarshal(b, dst)
		}
		return err
	}
	return rpc.Errorf(codes.Internal, "internal error").WithCause(fmt.Errorf("message is a %T", dst))
}

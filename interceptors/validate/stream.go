package validate

import (
	"sync/atomic"

	"google.golang.org/grpc"
)

// stream is a call whose messages from the client are checked as they come.
// RecvMsg may run in another goroutine than the handler.
type stream struct {
	grpc.ServerStream
	checker *Checker
	method  *method
	// refused is why a message ended the call: what the handler made of the
	// failed receive is not what the client should read.
	refused atomic.Pointer[error]
}

// RecvMsg receives the next message, if it is valid.
func (s *stream) RecvMsg(m any) error {
	if refused := s.refused.Load(); refused != nil {
		return *refused
	}
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	ctx := s.Context()
	if err := s.checker.check(ctx, s.method, m); err != nil {
		s.refused.Store(&err)
		return err
	}
	return nil
}

package fieldrules

import (
	"sync/atomic"

	"google.golang.org/grpc"

	"github.com/transomhq/transom/rpc"
)

// stream is a call whose messages are looked at both ways. The caller is asked
// for anew with each: it may have renewed its credential.
type stream struct {
	grpc.ServerStream
	guard   *Guard
	method  *method
	call    *rpc.Call
	refused atomic.Pointer[error] // why a message ended the call
}

// RecvMsg receives the next request, if the caller may set what it sets.
func (s *stream) RecvMsg(m any) error {
	if refused := s.refused.Load(); refused != nil {
		return *refused
	}
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	if err := s.guard.admit(s.method, s.call.Principal(), m); err != nil {
		s.refused.Store(&err)
		return err
	}
	return nil
}

// SendMsg sends what the caller may read of a response.
func (s *stream) SendMsg(m any) error {
	less, err := s.guard.strip(s.method, s.call.Principal(), m)
	if err != nil {
		s.refused.Store(&err)
		return err
	}
	return s.ServerStream.SendMsg(less)
}

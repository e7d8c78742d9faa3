package serverstream

import (
	"google.golang.org/grpc/codes"

	"github.com/transomhq/transom/rpc"
)

// Run runs the call through handler and returns its error, which is the
// status to send. The answer of a unary call is written, but not flushed, so
// that it leaves together with the status.
func (s *Stream) Run(handler rpc.Handler) error {
	if !s.call.Method.Unary() {
		return handler.Stream(s.call, s)
	}
	req := rpc.NewLazyMessage(s.call.Method.Desc.Input(), s)
	defer req.Free()
	resp, err := handler.Unary(s.ctx, s.call, req)
	if err != nil {
		return err
	}
	if err := s.answer(resp); err != nil {
		s.call.SetResult(err) // the chain believes that all went well
		return err
	}
	return nil
}

func (s *Stream) answer(resp *rpc.Message) error {
	if resp == nil {
		return rpc.Errorf(codes.Internal, "the method gave no response")
	}
	defer resp.Free()
	payload, err := resp.Buffers()
	if err != nil {
		return err
	}
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	return s.write(payload)
}

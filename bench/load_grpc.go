package main

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
)

// grpcCallers opens conns connections with streams callers each, that call
// method with the bytes of request.
func grpcCallers(addr, method string, request []byte, stream bool, conns, streams int) (callers []caller, end func(), err error) {
	var open []*grpc.ClientConn
	end = func() {
		for _, c := range open {
			_ = c.Close()
		}
	}
	for range conns {
		c, err := dial(addr)
		if err != nil {
			end()
			return nil, nil, err
		}
		open = append(open, c)
		for range streams {
			if stream {
				callers = append(callers, streamCaller(c, method, request))
			} else {
				callers = append(callers, unaryCaller(c, method, request))
			}
		}
	}
	return callers, end, nil
}

func unaryCaller(c *grpc.ClientConn, method string, request []byte) caller {
	var reply []byte
	return func() (int, error) {
		return 1, c.Invoke(context.Background(), method, &request, &reply)
	}
}

func streamCaller(c *grpc.ClientConn, method string, request []byte) caller {
	desc := &grpc.StreamDesc{ServerStreams: true}
	return func() (n int, err error) {
		s, err := c.NewStream(context.Background(), desc, method)
		if err != nil {
			return 0, err
		}
		if err := errors.Join(s.SendMsg(&request), s.CloseSend()); err != nil {
			return 0, err
		}
		for {
			var msg []byte
			if err := s.RecvMsg(&msg); errors.Is(err, io.EOF) {
				return n, nil
			} else if err != nil {
				return n, err
			}
			n++
		}
	}
}

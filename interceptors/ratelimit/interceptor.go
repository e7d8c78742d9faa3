package ratelimit

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/transomhq/transom/rpc"
)

// Unary returns the interceptor for unary calls.
func (l *Limiter) Unary() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		m := l.methods[info.FullMethod]
		if m == nil {
			return next(ctx, req)
		}
		a := l.attempt(ctx, info.FullMethod, m, req)
		err := a.bound(req)
		var release func()
		if err == nil {
			release, err = l.enter(a)
		}
		l.done(a)
		if err != nil {
			return nil, err
		}
		if release != nil {
			defer release()
		}
		return next(ctx, req)
	}
}

// Stream returns the interceptor for all other calls.
func (l *Limiter) Stream() grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		m := l.methods[info.FullMethod]
		if m == nil {
			return next(srv, ss)
		}
		s := &stream{ServerStream: ss, limiter: l, method: m, full: info.FullMethod}
		defer s.end()
		// Limits that look at the request wait for the first message.
		if err := s.enter(nil, !m.placesRead, !m.limitsRead); err != nil {
			return err
		}
		if m.placesRead || m.limitsRead || s.perMessage() {
			ss = s
		}
		err := next(srv, ss)
		if refused := s.refusal(); refused != nil {
			return refused
		}
		return err
	}
}

// bound refuses a message that is too large, now if it is there, else when it
// is read.
func (a *attempt) bound(req any) error {
	most := a.own.maxBytes
	if a.plan != nil && a.plan.maxBytes > 0 && (most == 0 || a.plan.maxBytes < most) {
		most = a.plan.maxBytes
	}
	if most == 0 {
		return nil
	}
	switch m := req.(type) {
	case *rpc.Message:
		return m.Bound(func(size int) error {
			if int64(size) > most {
				return tooLarge(int64(size), most)
			}
			return nil
		})
	case proto.Message:
		if size := int64(proto.Size(m)); size > most {
			return tooLarge(size, most)
		}
	}
	return nil
}

package idempotency

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/transomhq/transom/rpc"
)

const (
	header    = "idempotency-key"
	replayed  = "idempotency-replayed"
	maxKey    = 255
	maxAnswer = 1 << 20
)

// Method is one method that takes keys.
type Method struct {
	Desc protoreflect.MethodDescriptor
	// TTL is how long an answer is kept; 0 means 24 hours.
	TTL time.Duration
	// Required refuses calls without a key.
	Required bool
}

// Options are by full method name, "/pkg.Service/Method". Store is required.
type Options struct {
	Methods map[string]Method
	Store   *Memory
}

// Unary returns the interceptor. Methods that are not named pass.
func Unary(opts Options) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		m, ok := opts.Methods[info.FullMethod]
		if !ok {
			return next(ctx, req)
		}
		key, err := keyOf(ctx, m.Required)
		if err != nil {
			return nil, err
		}
		if key == "" {
			return next(ctx, req)
		}
		digest, err := digestOf(m.Desc, req)
		if err != nil {
			return nil, err
		}
		return opts.Store.run(ctx, m, scopeOf(ctx, info.FullMethod, key), digest, func(ctx context.Context) (any, error) { return next(ctx, req) })
	}
}

func keyOf(ctx context.Context, required bool) (string, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	values := md.Get(header)
	switch {
	case len(values) == 0 && required:
		return "", invalid("is required: send a value of your own for each thing that you want done once, such as a UUID")
	case len(values) == 0:
		return "", nil
	case len(values) > 1:
		return "", invalid("is sent more than once")
	case values[0] == "" || len(values[0]) > maxKey:
		return "", invalid("must have 1 to 255 characters")
	}
	return values[0], nil
}

func invalid(text string) error {
	return rpc.Errorf(codes.InvalidArgument, "Idempotency-Key %s", text).
		WithDetails(&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "Idempotency-Key", Description: text}}})
}

// scopeOf digests whose key it is: nobody reads answers by another's key.
func scopeOf(ctx context.Context, method, key string) scope {
	call := rpc.FromContext(ctx)
	who := []string{"", "", ""}
	if p := call.Principal(); p != nil {
		who = []string{"principal", p.Issuer, p.Subject}
	} else if call != nil {
		who = []string{"address", "", call.Client.String()}
	}
	h := sha256.New()
	for _, s := range append(who, method, key) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	return scope(h.Sum(nil))
}

func digestOf(method protoreflect.MethodDescriptor, req any) (digest [sha256.Size]byte, err error) {
	msg, err := rpc.MessageOf(method.Input(), req)
	if err != nil {
		return digest, rpc.Errorf(codes.Internal, "internal error").WithCause(err)
	}
	wire, err := msg.Bytes()
	if err != nil {
		return digest, err
	}
	return sha256.Sum256(wire), nil
}

// run answers from the store, or makes the call and keeps its answer.
func (m *Memory) run(ctx context.Context, method Method, s scope, digest [sha256.Size]byte, call func(context.Context) (any, error)) (any, error) {
	for {
		e, first := m.begin(s, digest, time.Now())
		if e.request != digest {
			return nil, rpc.Errorf(codes.InvalidArgument, "Idempotency-Key was used with another request: take a new one for each request").WithHTTPStatus(422)
		}
		if first {
			return m.first(ctx, method, e, call)
		}
		select {
		case <-e.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if e.kept {
			return e.answer.replay(ctx, method.Desc)
		}
	}
}

// first makes the call. Its end is kept when it is one; a failure that says to
// try again is not, and the next call with the key is made.
func (m *Memory) first(ctx context.Context, method Method, e *entry, call func(context.Context) (any, error)) (any, error) {
	ended := false
	defer func() {
		if !ended { // a panic, or nothing to keep
			m.drop(e)
		}
	}()
	rec := &recorder{ServerTransportStream: grpc.ServerTransportStreamFromContext(ctx)}
	if rec.ServerTransportStream != nil {
		ctx = grpc.NewContextWithServerTransportStream(ctx, rec)
	}
	resp, err := call(ctx)
	a := answer{err: err, header: rec.header, trailer: rec.trailer}
	if err == nil {
		msg, bad := rpc.MessageOf(method.Desc.Output(), resp)
		if bad != nil {
			return nil, rpc.Errorf(codes.Internal, "internal error").WithCause(bad)
		}
		wire, bad := msg.Bytes()
		if bad != nil {
			return nil, rpc.Errorf(codes.Internal, "internal error").WithCause(bad)
		}
		if a.message = slices.Clone(wire); len(wire) > maxAnswer {
			a.message = nil
			a.err = rpc.Errorf(codes.AlreadyExists, "a call with this Idempotency-Key was done; its answer was too large to be kept").WithHTTPStatus(409)
		}
		resp = msg
	}
	if final(rpc.StatusOf(err).Code()) {
		ended = true
		ttl := method.TTL
		if ttl <= 0 {
			ttl = 24 * time.Hour
		}
		m.keep(e, a, time.Now().Add(ttl))
	}
	return resp, err
}

// final reports whether a call that ended so would end so again.
func final(code codes.Code) bool {
	switch code {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Aborted, codes.ResourceExhausted, codes.Unauthenticated:
		return false
	}
	return true
}

func (a *answer) replay(ctx context.Context, method protoreflect.MethodDescriptor) (any, error) {
	_ = grpc.SetHeader(ctx, metadata.Join(a.header, metadata.Pairs(replayed, "true"))) // without a transport there is nobody to tell
	if len(a.trailer) > 0 {
		_ = grpc.SetTrailer(ctx, a.trailer)
	}
	if a.err != nil {
		return nil, a.err
	}
	msg := rpc.NewMessage(method.Output())
	msg.SetBytes(slices.Clone(a.message))
	return msg, nil
}

// recorder notes the metadata that pass through it.
type recorder struct {
	grpc.ServerTransportStream
	header, trailer metadata.MD
}

// SetHeader passes md on.
func (r *recorder) SetHeader(md metadata.MD) error {
	r.header = metadata.Join(r.header, md)
	return r.ServerTransportStream.SetHeader(md)
}

// SendHeader passes md on.
func (r *recorder) SendHeader(md metadata.MD) error {
	r.header = metadata.Join(r.header, md)
	return r.ServerTransportStream.SendHeader(md)
}

// SetTrailer passes md on.
func (r *recorder) SetTrailer(md metadata.MD) error {
	r.trailer = metadata.Join(r.trailer, md)
	return r.ServerTransportStream.SetTrailer(md)
}

package rest

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/transomhq/transom/rpc"
)

// exchange is one request and its response. It is the source of the request
// message and what gRPC knows as the server's side of the transport.
//
// It is not pooled: an interceptor may hold its context for longer than the
// call, and must then not find another caller's.
type exchange struct {
	door    *Door
	plan    *plan // nil while no binding is known
	call    *rpc.Call
	w       http.ResponseWriter
	r       *http.Request
	match   *rpc.Match
	form    form
	req     rpc.Message
	scratch *scratch // while the request is read
	counted countedReader

	// What a call needs once, in one piece of memory.
	from   peer.Peer
	addr   net.TCPAddr
	ip     [16]byte
	values [4]string // of response header fields

	mu              sync.Mutex
	header, trailer metadata.MD
	closed          bool // nobody may read from the client any more
}

var (
	_ rpc.Source                 = (*exchange)(nil)
	_ grpc.ServerTransportStream = (*exchange)(nil)
)

// scratch is the memory that reading a request needs, kept between calls.
type scratch struct {
	tree     tree
	path     []protoreflect.FieldDescriptor
	elements [][]byte
}

// serve makes the call and answers it, or returns why it did not.
func (x *exchange) serve() error {
	if !x.plan.binding.Method.Unary() {
		return x.stream()
	}
	var err error
	if x.form, err = x.negotiate(); err != nil {
		return err
	}
	ctx, cancel, err := x.context()
	if err != nil {
		return err
	}
	defer cancel()
	x.req.Reset(x.plan.input, x)
	defer x.req.Free()
	resp, err := x.door.opts.Handler.Unary(ctx, x.call, &x.req)
	if err != nil {
		return err
	}
	if resp == nil {
		return rpc.Errorf(codes.Internal, "internal error").WithCause(errors.New("the handler returned neither a message nor an error"))
	}
	defer resp.Free()
	return x.answer(resp)
}

// context returns the call's context: its record, metadata, peer, deadline and
// transport.
func (x *exchange) context() (context.Context, context.CancelFunc, error) {
	md, err := x.door.headers.inbound(x.r.Header)
	if err != nil {
		return nil, nil, err
	}
	timeout, ok, err := x.timeout()
	if err != nil {
		return nil, nil, err
	}
	ctx := rpc.NewContext(x.r.Context(), x.call)
	ctx = peer.NewContext(ctx, x.peer())
	ctx = metadata.NewIncomingContext(ctx, md)
	ctx = grpc.NewContextWithServerTransportStream(ctx, x)
	if !ok {
		return ctx, func() {}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	return ctx, cancel, nil
}

// peer returns who calls: the client, not the proxy before the gateway.
func (x *exchange) peer() *peer.Peer {
	p := &x.from
	client, port := x.call.Client, 0
	if !client.IsValid() {
		if ap, err := netip.ParseAddrPort(x.r.RemoteAddr); err == nil {
			client, port = ap.Addr().Unmap(), int(ap.Port())
		}
	}
	if client.IsValid() {
		x.ip = client.As16()
		x.addr = net.TCPAddr{IP: x.ip[:], Port: port, Zone: client.Zone()}
		p.Addr = &x.addr
	}
	if x.r.TLS != nil {
		p.AuthInfo = credentials.TLSInfo{State: *x.r.TLS, CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}
	}
	return p
}

// close ends the client's side: a message that was never asked for cannot be
// read any more, and metadata that comes too late is not sent.
func (x *exchange) close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = true
}

// Method returns the full name of the call's method.
func (x *exchange) Method() string { return x.call.Method.Name }

// SetHeader adds metadata that the response starts with.
func (x *exchange) SetHeader(md metadata.MD) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.header = join(x.header, md)
	return nil
}

// SendHeader is SetHeader: of a unary call, everything is sent at once.
func (x *exchange) SendHeader(md metadata.MD) error { return x.SetHeader(md) }

// SetTrailer adds metadata that the response ends with.
func (x *exchange) SetTrailer(md metadata.MD) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.trailer = join(x.trailer, md)
	return nil
}

// join returns old with the values of md appended. It never writes to slices
// that the caller of SetHeader may still hold.
func join(old, md metadata.MD) metadata.MD {
	if len(md) == 0 {
		return old
	}
	if old == nil {
		return maps.Clone(md)
	}
	for k, v := range md {
		old[k] = append(slices.Clip(old[k]), v...)
	}
	return old
}

// metadata returns what the handler set, to be sent.
func (x *exchange) metadata() (header, trailer metadata.MD) {
	x.mu.Lock()
	defer x.mu.Unlock()
	header, trailer = x.header, x.trailer
	x.header, x.trailer = nil, nil
	return header, trailer
}

package serverstream

import (
	"context"
	"net"
	"net/http"
	"net/netip"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/transomhq/transom/rpc"
)

// newContext returns ctx with all that a grpc-go server puts into a call's
// context, and the call.
func newContext(ctx context.Context, s *Stream, o Options) context.Context {
	ctx = peer.NewContext(ctx, peerOf(o.Request))
	ctx = metadata.NewIncomingContext(ctx, o.Metadata)
	ctx = grpc.NewContextWithServerTransportStream(ctx, transport{s})
	return rpc.NewContext(ctx, o.Call)
}

// peerOf returns the other end of the connection, which is a proxy where there
// is one: rpc.Call.Client is the client.
func peerOf(r *http.Request) *peer.Peer {
	p := &peer.Peer{}
	if addr, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		p.Addr = net.TCPAddrFromAddrPort(addr)
	} else {
		p.Addr = otherAddr(r.RemoteAddr)
	}
	p.LocalAddr, _ = r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if r.TLS != nil {
		p.AuthInfo = credentials.TLSInfo{
			State:          *r.TLS,
			CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
		}
	}
	return p
}

// otherAddr is an address that is no TCP one, such as a Unix socket's.
type otherAddr string

func (otherAddr) Network() string  { return "unix" }
func (a otherAddr) String() string { return string(a) }

// transport is the stream as grpc.SetHeader, grpc.SendHeader and
// grpc.SetTrailer find it in the context.
type transport struct{ s *Stream }

func (t transport) Method() string                  { return t.s.call.Method.Name }
func (t transport) SetHeader(md metadata.MD) error  { return t.s.SetHeader(md) }
func (t transport) SendHeader(md metadata.MD) error { return t.s.SendHeader(md) }
func (t transport) SetTrailer(md metadata.MD) error { t.s.SetTrailer(md); return nil }

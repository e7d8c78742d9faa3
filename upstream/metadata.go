package upstream

import (
	"context"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/transomhq/transom/rpc"
)

// Metadata that the gateway itself says about a call. Copies from outside are
// replaced: a backend may believe them.
const (
	forwardedFor   = "x-forwarded-for"
	forwardedHost  = "x-forwarded-host"
	forwardedProto = "x-forwarded-proto"
	requestID      = "x-request-id"
)

// outgoing returns the context of the upstream call: its metadata are built
// fresh from what the door took in, without what belongs to one hop, and with
// what interceptors added (metadata.AppendToOutgoingContext). Values that gRPC
// cannot carry are the client's mistake.
func (r *Relay) outgoing(ctx context.Context) (context.Context, error) {
	in, _ := metadata.FromIncomingContext(ctx)
	added, _ := metadata.FromOutgoingContext(ctx)
	out := make(metadata.MD, len(in)+len(added)+4)
	for key, values := range in {
		if ofOneHop(key) || r.Drop != nil && r.Drop(key) {
			continue
		}
		if !strings.HasSuffix(key, "-bin") && !printable(values) {
			return nil, rpc.Errorf(codes.InvalidArgument, "metadata %q: only printable ASCII is allowed in a value; send other bytes base64-encoded under a name that ends in -bin", key)
		}
		out[key] = values
	}
	for _, key := range []string{forwardedFor, forwardedHost, forwardedProto, requestID} {
		delete(out, key)
	}
	if call := rpc.FromContext(ctx); call != nil {
		describe(out, call)
	}
	for key, values := range added {
		out[key] = values
	}
	return metadata.NewOutgoingContext(ctx, out), nil
}

// printable reports whether values are ASCII-Value of PROTOCOL-HTTP2.md.
func printable(values []string) bool {
	for _, v := range values {
		for i := range len(v) {
			if v[i] < ' ' || v[i] > '~' {
				return false
			}
		}
	}
	return true
}

func describe(out metadata.MD, call *rpc.Call) {
	if call.Client.IsValid() {
		out[forwardedFor] = []string{call.Client.String()}
	}
	if call.Host != "" {
		out[forwardedHost] = []string{call.Host}
	}
	out[forwardedProto] = []string{"http"}
	if call.TLS != nil {
		out[forwardedProto][0] = "https"
	}
	if call.RequestID != "" {
		out[requestID] = []string{call.RequestID}
	}
}

// ofOneHop reports whether a metadata key belongs to one connection or to
// gRPC itself, and so must not be copied to the next.
func ofOneHop(key string) bool {
	switch key {
	case "content-type", "content-length", "te", "user-agent", "host", "connection", "keep-alive", "proxy-connection",
		"proxy-authorization", "proxy-authenticate", "transfer-encoding", "upgrade", "trailer", "accept-encoding", "expect":
		return true
	}
	return key == "" || key[0] == ':' || strings.HasPrefix(key, "grpc-")
}

// inbound returns a backend's metadata without what belongs to its hop. What
// remains is shared with md when nothing had to go.
func inbound(md metadata.MD) metadata.MD {
	drop := 0
	for key := range md {
		if ofOneHop(key) {
			drop++
		}
	}
	if drop == 0 {
		return md
	}
	if drop == len(md) {
		return nil
	}
	out := make(metadata.MD, len(md)-drop)
	for key, values := range md {
		if !ofOneHop(key) {
			out[key] = values
		}
	}
	return out
}

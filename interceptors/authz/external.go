package authz

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"log/slog"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/transomhq/transom/rpc"
)

// External is an authorizer that is asked over Envoy's ext_authz gRPC API
// (envoy.service.auth.v3.Authorization), such as Open Policy Agent.
//
// Every call is described as gRPC, POST to the method's full name with its
// metadata as headers, whatever the door, so that one policy decides for all.
// context_extensions hold what the door saw (transom.door,
// transom.http_method, transom.http_path), metadata_context the principal
// (filter_metadata "transom.principal").
type External struct {
	// Name is how policies call it.
	Name string
	// Conn reaches it.
	Conn grpc.ClientConnInterface
	// Timeout bounds one question. 0: 200 ms.
	Timeout time.Duration
	// FailOpen admits calls while it cannot be asked. Otherwise they are
	// refused with UNAVAILABLE.
	FailOpen bool
	// MaxMessageBytes shows it the first message, of up to so many bytes. 0
	// shows none, and the body is not waited for.
	MaxMessageBytes int
}

func (e *External) reads() bool { return e != nil && e.MaxMessageBytes > 0 }

// ask lets the authorizer decide, within its time, about the call as it opens.
// It returns the context with the metadata that it changed.
func (e *External) ask(ctx context.Context, p *plan, f *facts) (context.Context, error) {
	request, err := e.describe(ctx, p, f)
	if err != nil {
		return ctx, err
	}
	// What is said to a backend is not said to the authorizer, and its answer
	// is none of the call's record.
	question, cancel := context.WithTimeout(rpc.NewContext(ctx, nil), cmp.Or(e.Timeout, 200*time.Millisecond))
	defer cancel()
	question = metadata.NewOutgoingContext(question, metadata.MD{})
	answer, err := authv3.NewAuthorizationClient(e.Conn).Check(question, request)
	switch {
	case err == nil:
		return e.obey(ctx, answer)
	case ctx.Err() != nil: // the call itself has ended
		return ctx, ctx.Err()
	case e.FailOpen:
		f.call.Update(func(o *rpc.Outcome) { o.Attrs = append(o.Attrs, slog.String("authorizer_failed", e.Name)) })
		return ctx, nil
	}
	return ctx, refusal(codes.Unavailable, reasonUnavailable, "the call cannot be authorized now: try again later", nil).WithCause(err)
}

func (e *External) describe(ctx context.Context, p *plan, f *facts) (*authv3.CheckRequest, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	http := &authv3.AttributeContext_HttpRequest{
		Id: f.call.RequestID, Method: "POST", Path: p.method, Host: f.call.Host, Scheme: "http",
		Protocol: "HTTP/2", Size: -1, Headers: headers(md),
	}
	if f.call.TLS != nil {
		http.Scheme = "https"
	}
	for name, value := range map[string]string{":method": http.GetMethod(), ":path": http.GetPath(), ":authority": http.GetHost(), ":scheme": http.GetScheme()} {
		http.Headers[name] = value
	}
	if e.reads() && f.message != nil {
		body, err := e.frame(f.message)
		if err != nil {
			return nil, err
		}
		http.RawBody, http.Size = body, int64(len(body))
	}
	attributes := &authv3.AttributeContext{
		Source:  &authv3.AttributeContext_Peer{Address: addressOf(f.call)},
		Request: &authv3.AttributeContext_Request{Time: timestamppb.New(f.call.Start), Http: http},
		ContextExtensions: map[string]string{
			"transom.door": f.call.Door, "transom.http_method": f.call.HTTPMethod, "transom.http_path": utf8Only(f.call.Path),
		},
	}
	if who := f.principal(); who != nil {
		attributes.Source.Principal = utf8Only(who.Subject)
		attributes.MetadataContext = &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{"transom.principal": describePrincipal(who)}}
	}
	return &authv3.CheckRequest{Attributes: attributes}, nil
}

// headers are metadata as Envoy writes them: values joined, bytes in base64.
func headers(md metadata.MD) map[string]string {
	out := make(map[string]string, len(md)+4)
	for key, values := range md {
		if !strings.HasSuffix(key, "-bin") {
			out[utf8Only(key)] = utf8Only(strings.Join(values, ","))
			continue
		}
		encoded := make([]string, len(values))
		for i, v := range values {
			encoded[i] = base64.RawStdEncoding.EncodeToString([]byte(v))
		}
		out[utf8Only(key)] = strings.Join(encoded, ",")
	}
	return out
}

func utf8Only(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// frame returns a message with gRPC's prefix: a byte that says that it is not
// compressed, and its length.
func (e *External) frame(message any) ([]byte, error) {
	var wire []byte
	var err error
	if m, ok := message.(*rpc.Message); ok {
		wire, err = m.Bytes()
	} else if m, ok := message.(proto.Message); ok {
		wire, err = proto.Marshal(m)
	}
	if err != nil {
		return nil, err
	}
	if len(wire) > e.MaxMessageBytes {
		return nil, rpc.Errorf(codes.ResourceExhausted, "the request has %d bytes: it cannot be authorized beyond %d", len(wire), e.MaxMessageBytes).WithHTTPStatus(413)
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 1, 5+len(wire)), uint32(len(wire))) //nolint:gosec // bounded above
	return append(frame, wire...), nil
}

func addressOf(call *rpc.Call) *corev3.Address {
	if !call.Client.IsValid() {
		return nil
	}
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: call.Client.String(), PortSpecifier: &corev3.SocketAddress_PortValue{},
	}}}
}

// describePrincipal says who is calling. Claims that JSON cannot hold are left out.
func describePrincipal(who *rpc.Principal) *structpb.Struct {
	fields := map[string]*structpb.Value{
		"subject": text(who.Subject), "issuer": text(who.Issuer), "consumer": text(who.Consumer), "method": text(who.Method),
		"scopes": texts(who.Scopes), "roles": texts(who.Roles),
	}
	claims := map[string]*structpb.Value{}
	for name, claim := range who.Claims {
		if v, err := structpb.NewValue(claim); err == nil {
			claims[utf8Only(name)] = v
		}
	}
	fields["claims"] = structpb.NewStructValue(&structpb.Struct{Fields: claims})
	return &structpb.Struct{Fields: fields}
}

func text(s string) *structpb.Value { return structpb.NewStringValue(utf8Only(s)) }

func texts(list []string) *structpb.Value {
	values := make([]*structpb.Value, len(list))
	for i, s := range list {
		values[i] = text(s)
	}
	return structpb.NewListValue(&structpb.ListValue{Values: values})
}

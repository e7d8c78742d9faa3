package story

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"sort"
	"strings"
	"sync"
	"testing"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"
)

// backend is a gRPC server that answers as the story says and keeps what it saw.
type backend struct {
	schema *Schema
	addr   string

	mu     sync.Mutex
	answer *answer
	seen   *seen
}

// answer is what the backend answers next.
type answer struct {
	status          *status.Status
	header, trailer metadata.MD
	message         string
}

// seen is a call that the backend saw.
type seen struct {
	method string
	md     metadata.MD
	json   string
}

func startBackend(t testing.TB, schema *Schema) *backend {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &backend{schema: schema, addr: l.Addr().String()}
	server := grpc.NewServer(grpc.UnknownServiceHandler(b.serve), grpc.MaxRecvMsgSize(64<<20))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // returns when stopped
	}()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return b
}

// expect sets the next answer and forgets what was seen.
func (b *backend) expect(a *answer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer, b.seen = a, nil
}

func (b *backend) last() *seen {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.seen
}

func (b *backend) serve(_ any, stream grpc.ServerStream) error {
	name, _ := grpc.Method(stream.Context())
	m, err := b.schema.method(name)
	if err != nil {
		return status.Error(codes.Unimplemented, err.Error())
	}
	req := dynamicpb.NewMessage(m.Input())
	if err := stream.RecvMsg(req); err != nil {
		return err
	}
	text, err := protojson.MarshalOptions{Resolver: b.schema.Types}.Marshal(req)
	if err != nil {
		text = []byte(fmt.Sprintf("%q", err.Error()))
	}
	md, _ := metadata.FromIncomingContext(stream.Context())
	b.mu.Lock()
	b.seen = &seen{method: name, md: md, json: string(text)}
	a := b.answer
	b.mu.Unlock()
	if err := stream.SetHeader(a.header); err != nil {
		return err
	}
	stream.SetTrailer(a.trailer)
	if a.status.Code() != codes.OK {
		return a.status.Err()
	}
	reply := dynamicpb.NewMessage(m.Output())
	if err := (protojson.UnmarshalOptions{Resolver: b.schema.Types}).Unmarshal([]byte(a.message), reply); err != nil {
		return status.Errorf(codes.Unknown, "story: answer: %v", err)
	}
	return stream.SendMsg(reply)
}

// parseAnswer reads an answer section.
func parseAnswer(text string, schema *Schema) (*answer, error) {
	a := &answer{status: status.New(codes.OK, ""), header: metadata.MD{}, trailer: metadata.MD{}, message: "{}"}
	st := &spb.Status{}
	for text != "" {
		line, rest, _ := strings.Cut(text, "\n")
		key, value, ok := strings.Cut(line, ": ")
		if !ok || strings.HasPrefix(line, "{") {
			break
		}
		text = rest
		switch key {
		case "status":
			if err := parseStatus(st, value); err != nil {
				return nil, err
			}
		case "details":
			if err := parseDetails(st, value, schema); err != nil {
				return nil, err
			}
		case "header", "trailer":
			md := map[string]metadata.MD{"header": a.header, "trailer": a.trailer}[key]
			name, v, _ := strings.Cut(value, " ")
			if strings.HasSuffix(name, "-bin") {
				raw, err := base64.StdEncoding.DecodeString(v)
				if err != nil {
					return nil, err
				}
				v = string(raw)
			}
			md.Append(name, v)
		default:
			return nil, fmt.Errorf("answer: unknown line %q", line)
		}
	}
	a.status = status.FromProto(st)
	if text = strings.TrimSpace(text); text != "" {
		a.message = text
	}
	return a, nil
}

func parseStatus(st *spb.Status, value string) error {
	name, message, _ := strings.Cut(value, " ")
	var code codes.Code
	if err := code.UnmarshalJSON([]byte(`"` + name + `"`)); err != nil {
		var n int32
		if _, err := fmt.Sscan(name, &n); err != nil {
			return fmt.Errorf("answer: status %q", name)
		}
		code = codes.Code(n)
	}
	st.Code, st.Message = int32(code), message
	return nil
}

// parseDetails reads details as JSON; {"@type": T, "value": BASE64} of a type
// that nobody knows is kept as it is.
func parseDetails(st *spb.Status, value string, schema *Schema) error {
	var list []json.RawMessage
	if err := json.Unmarshal([]byte(value), &list); err != nil {
		return err
	}
	for _, raw := range list {
		detail := &anypb.Any{}
		if err := (protojson.UnmarshalOptions{Resolver: detailTypes{schema.Types}}).Unmarshal(raw, detail); err != nil {
			var unknown struct {
				Type  string `json:"@type"`
				Value []byte `json:"value"`
			}
			if json.Unmarshal(raw, &unknown) != nil {
				return err
			}
			detail = &anypb.Any{TypeUrl: unknown.Type, Value: unknown.Value}
		}
		st.Details = append(st.Details, detail)
	}
	return nil
}

// describe writes what was seen as a section. Only named metadata are shown,
// or all that tell something when names is nil.
func (s *seen) describe(names map[string]bool) string {
	if s == nil {
		return "nothing\n"
	}
	var b strings.Builder
	b.WriteString(s.method + "\n")
	var keys []string
	for key := range s.md {
		if names[key] || names == nil && !isNoise(key) {
			keys = append(keys, key)
		}
	}
	sort.Strings(keys)
	for _, key := range keys {
		for _, v := range s.md[key] {
			if strings.HasSuffix(key, "-bin") {
				v = base64.StdEncoding.EncodeToString([]byte(v))
			}
			fmt.Fprintf(&b, "%s: %s\n", key, v)
		}
	}
	b.WriteString("\n" + indent(s.json) + "\n")
	return b.String()
}

func isNoise(key string) bool {
	switch key {
	case ":authority", "content-type", "user-agent", "te", "x-request-id", "grpc-timeout":
		return true
	}
	return strings.HasPrefix(key, "x-forwarded-") || strings.HasPrefix(key, "grpc-")
}

// indent lays JSON out for reading, with sorted keys; other text is kept.
func indent(text string) string {
	v, ok := decode(text)
	if !ok {
		return text
	}
	out, err := json.Marshal(v)
	if err != nil {
		return text
	}
	if len(out) < 100 {
		return string(out)
	}
	out, err = json.MarshalIndent(v, "", "  ")
	if err != nil {
		return text
	}
	return string(out)
}

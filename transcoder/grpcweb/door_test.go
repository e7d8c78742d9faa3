package grpcweb_test

import (
	"encoding/base64"
	"encoding/binary"
	"io"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/proto"

	"github.com/transomhq/transom/transcoder/doortest"
	"github.com/transomhq/transom/transcoder/grpcweb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	unaryCall = "/grpc.testing.TestService/UnaryCall"
	output    = "/grpc.testing.TestService/StreamingOutputCall"
	input     = "/grpc.testing.TestService/StreamingInputCall"
)

func gateway(t *testing.T) *doortest.Edge {
	relay := doortest.Relay{Conn: doortest.Upstream(t, func(s *grpc.Server) {
		testgrpc.RegisterTestServiceServer(s, interop.NewTestServer())
	})}
	methods := doortest.Methods(testgrpc.File_grpc_testing_test_proto.Services().ByName("TestService"))
	return doortest.Listen(t, false, methods, grpcweb.New(grpcweb.Options{Handler: relay, MaxReceiveBytes: 10_000}).Serve)
}

func frame(flags byte, m proto.Message) string {
	b, _ := proto.Marshal(m)
	return string(append(binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(b))), b...))
}

// split takes a body apart into its frames: flags and payload in turn.
func split(t *testing.T, body string) (messages []string, trailer string) {
	t.Helper()
	for len(body) >= 5 {
		n := int(binary.BigEndian.Uint32([]byte(body[1:5])))
		if len(body) < 5+n || trailer != "" {
			t.Fatalf("broken frames in %q", body)
		}
		if body[0]&0x80 != 0 {
			trailer = body[5 : 5+n]
		} else {
			messages = append(messages, body[5:5+n])
		}
		body = body[5+n:]
	}
	if body != "" || trailer == "" {
		t.Fatalf("%q after the last frame, trailer %q", body, trailer)
	}
	return messages, trailer
}

// untext decodes base64 whose pieces are padded one by one.
func untext(t *testing.T, s string) string {
	t.Helper()
	var out strings.Builder
	for ; len(s) >= 4; s = s[4:] {
		b, err := base64.StdEncoding.DecodeString(s[:4])
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
	}
	if s != "" {
		t.Fatalf("%q is no quantum of base64", s)
	}
	return out.String()
}

func TestWire(t *testing.T) {
	e := gateway(t)
	request := frame(0, &testgrpc.SimpleRequest{ResponseSize: 10})
	failing := frame(0, &testgrpc.SimpleRequest{ResponseStatus: &testgrpc.EchoStatus{Code: 7, Message: "no ☺"}})
	streaming := frame(0, &testgrpc.StreamingOutputCallRequest{ResponseParameters: []*testgrpc.ResponseParameters{{Size: 1}, {Size: 2}, {Size: 3}}})
	inputs := frame(0, &testgrpc.StreamingInputCallRequest{Payload: &testgrpc.Payload{Body: []byte("ab")}})
	b64 := base64.StdEncoding.EncodeToString
	cases := []struct {
		name, path, contentType, accept, body string
		status                                int
		answerType                            string
		messages                              int
		trailer                               string // a line of it
	}{
		{"unary", unaryCall, "application/grpc-web+proto", "", request, 200, "application/grpc-web+proto", 1, "grpc-status: 0\r\n"},
		{"no codec", unaryCall, "application/grpc-web", "", request, 200, "application/grpc-web", 1, "grpc-status: 0\r\n"},
		{"error", unaryCall, "application/grpc-web+proto", "", failing, 200, "application/grpc-web+proto", 0, "grpc-status: 7\r\ngrpc-message: no %E2%98%BA\r\n"},
		{"server stream", output, "application/grpc-web+proto", "", streaming, 200, "application/grpc-web+proto", 3, "grpc-status: 0\r\n"},
		{"client stream", input, "application/grpc-web+proto", "", inputs + inputs, 200, "application/grpc-web+proto", 1, "grpc-status: 0\r\n"},
		{"text", unaryCall, "application/grpc-web-text+proto", "", b64([]byte(request)), 200, "application/grpc-web-text+proto", 1, "grpc-status: 0\r\n"},
		{"text in pieces", unaryCall, "application/grpc-web-text", "", b64([]byte(request[:4])) + b64([]byte(request[4:])), 200, "application/grpc-web-text", 1, "grpc-status: 0\r\n"},
		{"text without padding", unaryCall, "application/grpc-web-text", "", strings.TrimRight(b64([]byte(request)), "="), 200, "application/grpc-web-text", 1, "grpc-status: 0\r\n"},
		{"text stream", output, "application/grpc-web-text+proto", "", b64([]byte(streaming)), 200, "application/grpc-web-text+proto", 3, "grpc-status: 0\r\n"},
		{"text by Accept", unaryCall, "application/grpc-web+proto", "application/grpc-web-text", request, 200, "application/grpc-web-text+proto", 1, "grpc-status: 0\r\n"},
		{"not base64", unaryCall, "application/grpc-web-text", "", "????", 200, "application/grpc-web-text", 0, "grpc-status: 13\r\n"},
		{"cut", unaryCall, "application/grpc-web", "", request[:3], 200, "application/grpc-web", 0, "grpc-status: 13\r\n"},
		{"too large", unaryCall, "application/grpc-web", "", "\x00\x00\x01\x00\x00", 200, "application/grpc-web", 0, "grpc-status: 8\r\n"},
		{"trailer frame in a request", unaryCall, "application/grpc-web", "", frame(0x80, &testgrpc.Empty{}), 200, "application/grpc-web", 0, "grpc-status: 13\r\n"},
		{"unknown method", "/a.B/C", "application/grpc-web+proto", "", request, 200, "application/grpc-web+proto", 0, "grpc-status: 12\r\ngrpc-message: unknown method /a.B/C\r\n"},
		{"json", unaryCall, "application/grpc-web+json", "", request, 415, "application/grpc-web+json", 0, "grpc-status: 3\r\n"},
	}
	for _, http2 := range []bool{false, true} {
		client := e.Client(t, http2)
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, e.URL+c.path, strings.NewReader(c.body))
				req.Header.Set("Content-Type", c.contentType)
				if c.accept != "" {
					req.Header.Set("Accept", c.accept)
				}
				resp, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				raw, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil {
					t.Fatal(err)
				}
				body := string(raw)
				if strings.Contains(c.answerType, "-text") {
					body = untext(t, body)
				}
				messages, trailer := split(t, body)
				if resp.StatusCode != c.status || resp.Header.Get("Content-Type") != c.answerType || len(messages) != c.messages || !strings.Contains(trailer, c.trailer) {
					t.Errorf("HTTP %d, %s, %d messages, trailer %q", resp.StatusCode, resp.Header.Get("Content-Type"), len(messages), trailer)
				}
			})
		}
	}
}

func TestIs(t *testing.T) {
	for contentType, want := range map[string]bool{
		"application/grpc-web": true, "application/grpc-web+proto": true, "application/grpc-web-text": true, "Application/Grpc-Web-Text+proto; charset=utf-8": true,
		"application/grpc": false, "application/grpc+proto": false, "application/grpc-webber": false, "application/json": false, "": false,
	} {
		r := &http.Request{Header: http.Header{"Content-Type": {contentType}}}
		if got := grpcweb.Is(r); got != want {
			t.Errorf("Is(%q) = %v", contentType, got)
		}
	}
}

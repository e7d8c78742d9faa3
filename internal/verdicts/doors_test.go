package verdicts_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/coder/websocket"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"
)

// call is a call that some client makes.
type call struct {
	service, kind string // kind: Call, Watch or Chat
	header        [][2]string
	messages      []ask
	caller        string
}

func (c call) method() string { return "/verdicts.v1." + c.service + "/" + c.kind }

// door is one way to make a call of a kind.
type door struct {
	name  string
	label string // of the counter
	kind  string
	send  func(s *stage, ctx context.Context, c call) verdict
}

func doors() []door {
	return []door{
		{"gRPC", "grpc", "Call", overGRPC},
		{"gRPC stream", "grpc", "Watch", overGRPC},
		{"gRPC chat", "grpc", "Chat", overGRPC},
		{"gRPC-Web", "grpcweb", "Call", overWeb(false)},
		{"gRPC-Web stream", "grpcweb", "Watch", overWeb(false)},
		{"gRPC-Web text", "grpcweb", "Watch", overWeb(true)},
		{"Connect", "connect", "Call", overConnect},
		{"Connect proto", "connect", "Call", overConnectProto},
		{"Connect stream", "connect", "Watch", overConnectStream},
		{"Connect chat", "connect", "Chat", overConnectStream},
		{"REST", "rest", "Call", overREST("")},
		{"NDJSON", "rest", "Watch", overREST("application/x-ndjson")},
		{"NDJSON chat", "rest", "Chat", overREST("application/x-ndjson")},
		{"SSE", "sse", "Watch", overREST("text/event-stream")},
		{"SSE chat", "sse", "Chat", overREST("text/event-stream")},
		{"socket", "websocket", "Call", overSocket("")},
		{"socket stream", "websocket", "Watch", overSocket("")},
		{"socket chat", "websocket", "Chat", overSocket("")},
		{"envelope", "websocket", "Call", overSocket("transom.v1+json")},
		{"envelope stream", "websocket", "Watch", overSocket("transom.v1+json")},
		{"envelope chat", "websocket", "Chat", overSocket("transom.v1+json")},
		{"many", "websocket", "Call", overMany},
		{"many stream", "websocket", "Watch", overMany},
		{"many chat", "websocket", "Chat", overMany},
	}
}

func overGRPC(s *stage, ctx context.Context, c call) verdict {
	for _, h := range c.header {
		ctx = metadata.AppendToOutgoingContext(ctx, h[0], h[1])
	}
	var err error
	if c.kind == "Call" {
		err = s.conn.Invoke(ctx, c.method(), s.message(c.messages[0]), dynamicpb.NewMessage(s.ask))
	} else {
		err = s.stream(ctx, c)
	}
	return verdictOf(status.Convert(err).Proto(), c.caller)
}

func (s *stage) stream(ctx context.Context, c call) error {
	ss, err := s.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: c.kind == "Chat"}, c.method())
	if err != nil {
		return err
	}
	for _, m := range c.messages {
		if err := ss.SendMsg(s.message(m)); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	if err := ss.CloseSend(); err != nil {
		return err
	}
	for {
		err := ss.RecvMsg(dynamicpb.NewMessage(s.ask))
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// post sends a request and reads all of its answer.
func (s *stage) post(ctx context.Context, client *http.Client, method, target string, c call, body []byte, header ...string) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.address+target, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	for _, h := range c.header {
		req.Header.Add(h[0], h[1])
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i+1] != "" {
			req.Header.Set(header[i], header[i+1])
		}
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	return resp, all, err
}

// frame is five bytes and a message.
func frame(flags byte, message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(message))), message...)
}

// lastFrame returns the last frame that has the flag.
func lastFrame(body []byte, flag byte) ([]byte, error) {
	for len(body) >= 5 {
		n := int(binary.BigEndian.Uint32(body[1:5]))
		if len(body) < 5+n {
			break
		}
		if body[0]&flag != 0 {
			return body[5 : 5+n], nil
		}
		body = body[5+n:]
	}
	return nil, errors.New("the body has no last frame")
}

func (s *stage) wire(a ask) []byte {
	b, err := proto.Marshal(s.message(a))
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// overWeb is gRPC-Web, binary or as text.
func overWeb(text bool) func(*stage, context.Context, call) verdict {
	return func(s *stage, ctx context.Context, c call) verdict {
		body, contentType := frame(0, s.wire(c.messages[0])), "application/grpc-web+proto"
		if text {
			body, contentType = []byte(base64.StdEncoding.EncodeToString(body)), "application/grpc-web-text+proto"
		}
		resp, got, err := s.post(ctx, s.client, "POST", c.method(), c, body, "Content-Type", contentType, "X-Grpc-Web", "1")
		if err != nil {
			return strange("%v", err)
		}
		if resp.StatusCode != 200 {
			return strange("HTTP %d %s", resp.StatusCode, got)
		}
		if resp.Header.Get("Grpc-Status") != "" {
			return ofTrailer(resp.Header, c.caller)
		}
		if text {
			if got, err = decodeText(got); err != nil {
				return strange("%v", err)
			}
		}
		last, err := lastFrame(got, 0x80)
		if err != nil {
			return strange("%v", err)
		}
		trailer := http.Header{}
		for line := range strings.SplitSeq(string(last), "\r\n") {
			if name, value, ok := strings.Cut(line, ":"); ok {
				trailer.Add(name, strings.TrimSpace(value))
			}
		}
		return ofTrailer(trailer, c.caller)
	}
}

// decodeText decodes base64 whose parts may each be padded.
func decodeText(text []byte) (out []byte, err error) {
	for len(text) >= 4 {
		var part [3]byte
		n, err := base64.StdEncoding.Decode(part[:], text[:4])
		if err != nil {
			return nil, err
		}
		out, text = append(out, part[:n]...), text[4:]
	}
	return out, nil
}

func ofTrailer(h http.Header, caller string) verdict {
	code, err := strconv.Atoi(h.Get("Grpc-Status"))
	if err != nil {
		return strange("grpc-status: %v", err)
	}
	message, err := url.PathUnescape(h.Get("Grpc-Message"))
	if err != nil {
		return strange("grpc-message: %v", err)
	}
	st := &spb.Status{Code: int32(code), Message: message}
	if bin := strings.TrimRight(h.Get("Grpc-Status-Details-Bin"), "="); bin != "" {
		raw, err := base64.RawStdEncoding.DecodeString(bin)
		if err != nil {
			return strange("grpc-status-details-bin: %v", err)
		}
		var whole spb.Status
		if err := proto.Unmarshal(raw, &whole); err != nil || whole.GetCode() != st.GetCode() || whole.GetMessage() != message {
			return strange("grpc-status-details-bin says %v, beside %v: %v", &whole, st, err)
		}
		st = &whole
	}
	return verdictOf(st, caller)
}

func overConnect(s *stage, ctx context.Context, c call) verdict {
	return s.connectUnary(ctx, c, marshal(c.messages[0]), "application/json")
}

func overConnectProto(s *stage, ctx context.Context, c call) verdict {
	return s.connectUnary(ctx, c, s.wire(c.messages[0]), "application/proto")
}

func (s *stage) connectUnary(ctx context.Context, c call, body []byte, contentType string) verdict {
	resp, got, err := s.post(ctx, s.client, "POST", c.method(), c, body, "Content-Type", contentType, "Connect-Protocol-Version", "1")
	if err != nil {
		return strange("%v", err)
	}
	if resp.StatusCode == 200 {
		return verdict{}
	}
	return ofConnect(got, c.caller)
}

func overConnectStream(s *stage, ctx context.Context, c call) verdict {
	var body []byte
	for _, m := range c.messages {
		body = append(body, frame(0, marshal(m))...)
	}
	resp, got, err := s.post(ctx, s.h2, "POST", c.method(), c, body, "Content-Type", "application/connect+json", "Connect-Protocol-Version", "1")
	if err != nil {
		return strange("%v", err)
	}
	if resp.StatusCode != 200 {
		return strange("HTTP %d %s", resp.StatusCode, got)
	}
	last, err := lastFrame(got, 2)
	if err != nil {
		return strange("%v", err)
	}
	var end struct{ Error json.RawMessage }
	if err := json.Unmarshal(last, &end); err != nil {
		return strange("%v: %s", err, last)
	}
	if len(end.Error) == 0 {
		return verdict{}
	}
	return ofConnect(end.Error, c.caller)
}

func marshal(a any) []byte {
	b, err := json.Marshal(a)
	if err != nil {
		panic(err) // plain data
	}
	return b
}

// path returns the target of the method's binding; a Watch is asked by its query.
func (c call) path() (method, target string) {
	switch c.kind {
	case "Watch":
		q := url.Values{}
		if c.messages[0].Text != "" {
			q.Set("text", c.messages[0].Text)
		}
		if c.messages[0].N != 0 {
			q.Set("n", strconv.Itoa(int(c.messages[0].N)))
		}
		if c.messages[0].Price != 0 {
			q.Set("price", strconv.Itoa(int(c.messages[0].Price)))
		}
		return "GET", "/v1/" + c.service + ":watch?" + q.Encode()
	case "Chat":
		return "POST", "/v1/" + c.service + ":chat"
	}
	return "POST", "/v1/" + c.service
}

// overREST is a unary call, or a stream in the form accept.
func overREST(accept string) func(*stage, context.Context, call) verdict {
	return func(s *stage, ctx context.Context, c call) verdict {
		method, target := c.path()
		var body []byte
		contentType := ""
		switch c.kind {
		case "Call":
			body, contentType = marshal(c.messages[0]), "application/json"
		case "Chat":
			for _, m := range c.messages {
				body = append(append(body, marshal(m)...), '\n')
			}
			contentType = "application/x-ndjson"
		}
		resp, got, err := s.post(ctx, s.client, method, target, c, body, "Accept", accept, "Content-Type", contentType)
		if err != nil {
			return strange("%v", err)
		}
		if resp.StatusCode != 200 {
			return ofJSON(got, c.caller)
		}
		return ofStream(resp.Header.Get("Content-Type"), got, c.caller)
	}
}

// ofStream reads the end of an answer whose status was 200.
func ofStream(contentType string, body []byte, caller string) verdict {
	if strings.HasPrefix(contentType, "text/event-stream") {
		if _, end, ok := strings.Cut(string(body), "event: error\n"); ok {
			_, data, _ := strings.Cut(end, "data: ")
			return ofJSON([]byte(data), caller)
		}
		if !strings.Contains(string(body), "event: end\n") {
			return strange("no end: %s", body)
		}
		return verdict{}
	}
	for line := range strings.Lines(string(body)) {
		var m struct{ Error json.RawMessage }
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			return strange("%v: %s", err, line)
		}
		if len(m.Error) > 0 {
			return ofJSON(m.Error, caller)
		}
	}
	return verdict{}
}

// dial opens a socket; where it is refused, the verdict says how.
func (s *stage) dial(ctx context.Context, target string, c call, protocol string) (*websocket.Conn, verdict) {
	opts := &websocket.DialOptions{HTTPHeader: http.Header{}, HTTPClient: s.client}
	for _, h := range c.header {
		opts.HTTPHeader.Add(h[0], h[1])
	}
	if protocol != "" {
		opts.Subprotocols = []string{protocol}
	}
	conn, resp, err := websocket.Dial(ctx, "ws://"+s.address+target, opts)
	if err == nil {
		return conn, verdict{}
	}
	if resp == nil || resp.Body == nil {
		return nil, strange("%v", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, strange("%v", err)
	}
	return nil, ofJSON(text, c.caller)
}

// overSocket is a socket of one call.
func overSocket(protocol string) func(*stage, context.Context, call) verdict {
	return func(s *stage, ctx context.Context, c call) verdict {
		_, target := c.path()
		conn, v := s.dial(ctx, target, c, protocol)
		if conn == nil {
			return v
		}
		defer conn.CloseNow()
		var frames []any
		if c.kind != "Watch" { // its URL says all
			for _, m := range c.messages {
				if protocol != "" {
					frames = append(frames, map[string]any{"message": m})
				} else {
					frames = append(frames, m)
				}
			}
		}
		for _, f := range frames {
			if conn.Write(ctx, websocket.MessageText, marshal(f)) != nil {
				break // the verdict is there already
			}
		}
		if c.kind == "Chat" && protocol != "" {
			_ = conn.Write(ctx, websocket.MessageText, []byte(`{"halfClose":true}`))
		} else if c.kind == "Chat" {
			_ = conn.Write(ctx, websocket.MessageText, nil)
		}
		return untilClosed(ctx, conn, c.caller)
	}
}

// untilClosed reads to the end, where close code and last frame must agree.
func untilClosed(ctx context.Context, conn *websocket.Conn, caller string) verdict {
	var v verdict
	for {
		_, text, err := conn.Read(ctx)
		var closed websocket.CloseError
		if errors.As(err, &closed) {
			want := 1000
			if v.code != codes.OK {
				want = 4000 + int(v.code)
			}
			if int(closed.Code) != want {
				return strange("closed with %d %q after %s", closed.Code, closed.Reason, v)
			}
			return v
		}
		if err != nil {
			return strange("%v", err)
		}
		if last, ok := lastOf(text); ok {
			v = ofJSON(last, caller)
		}
	}
}

// lastOf returns the status that a frame has, if it is the last one.
func lastOf(text []byte) (status []byte, ok bool) {
	var f struct{ Error, Status json.RawMessage }
	if json.Unmarshal(text, &f) != nil {
		return nil, false
	}
	if len(f.Error) > 0 {
		return f.Error, true
	}
	return f.Status, len(f.Status) > 0
}

// overMany is one call of a socket of many.
func overMany(s *stage, ctx context.Context, c call) verdict {
	conn, v := s.dial(ctx, "/ws", c, "transom.v1+json")
	if conn == nil {
		return strange("the socket was refused: %s", v)
	}
	defer conn.CloseNow()
	frames := []any{map[string]any{"id": 1, "start": map[string]any{"method": strings.TrimPrefix(c.method(), "/")}}}
	for _, m := range c.messages {
		frames = append(frames, map[string]any{"id": 1, "message": m})
	}
	if c.kind == "Chat" {
		frames = append(frames, map[string]any{"id": 1, "halfClose": true})
	}
	for _, f := range frames {
		if err := conn.Write(ctx, websocket.MessageText, marshal(f)); err != nil {
			return strange("%v", err)
		}
	}
	for {
		_, text, err := conn.Read(ctx)
		if err != nil {
			return strange("%v", err)
		}
		if last, ok := lastOf(text); ok {
			_ = conn.Close(websocket.StatusNormalClosure, "")
			return ofJSON(last, c.caller)
		}
	}
}

package native_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/proto"

	"github.com/transomhq/transom/transcoder/doortest"
	"github.com/transomhq/transom/transcoder/native"
)

// raw is an HTTP/2 client that sends what it is told, right or wrong.
type raw struct {
	t    *testing.T
	conn net.Conn
	fr   *http2.Framer
	buf  bytes.Buffer
	enc  *hpack.Encoder
	next uint32
}

// answer is what came back on one stream.
type answer struct {
	header, trailer map[string]string
	data            []byte
	reset           bool
	resetCode       http2.ErrCode
	trailersOnly    bool
}

func dialRaw(t *testing.T, e *doortest.Edge) *raw {
	conn, err := net.Dial("tcp", e.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		t.Fatal(err)
	}
	r := &raw{t: t, conn: conn, fr: http2.NewFramer(conn, conn), next: 1}
	r.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	r.enc = hpack.NewEncoder(&r.buf)
	r.must(r.fr.WriteSettings())
	return r
}

func (r *raw) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// open sends a request's header: fields are "name: value" lines that replace
// or join those of a proper call; an empty value takes the name away.
func (r *raw) open(path string, end bool, fields ...string) uint32 {
	r.t.Helper()
	names := []string{":method", ":scheme", ":path", ":authority", "content-type", "te"}
	values := map[string]string{":method": "POST", ":scheme": "http", ":path": path, ":authority": "test", "content-type": "application/grpc", "te": "trailers"}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		if _, ok := values[name]; !ok {
			names = append(names, name)
		}
		values[name] = value
	}
	r.buf.Reset()
	for _, name := range names {
		if values[name] != "" {
			r.must(r.enc.WriteField(hpack.HeaderField{Name: name, Value: values[name]}))
		}
	}
	id := r.next
	r.next += 2
	r.must(r.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: r.buf.Bytes(), EndHeaders: true, EndStream: end}))
	return id
}

// read returns what comes on stream id until its end.
func (r *raw) read(id uint32) answer {
	r.t.Helper()
	var a answer
	for {
		f, err := r.fr.ReadFrame()
		r.must(err)
		if f.Header().StreamID != id {
			if s, ok := f.(*http2.SettingsFrame); ok && !s.IsAck() {
				r.must(r.fr.WriteSettingsAck())
			}
			continue
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			fields := map[string]string{}
			for _, h := range f.Fields {
				fields[h.Name] = h.Value
			}
			if a.header == nil {
				a.header, a.trailersOnly = fields, f.StreamEnded()
			} else {
				a.trailer = fields
			}
			if f.StreamEnded() {
				return a
			}
		case *http2.DataFrame:
			a.data = append(a.data, f.Data()...)
			if f.StreamEnded() {
				return a
			}
		case *http2.RSTStreamFrame:
			a.reset, a.resetCode = true, f.ErrCode
			return a
		}
	}
}

// status returns grpc-status, wherever it stood.
func (a answer) status() string {
	if v, ok := a.trailer["grpc-status"]; ok {
		return v
	}
	return a.header["grpc-status"]
}

func (a answer) message() string {
	if v, ok := a.trailer["grpc-message"]; ok {
		return v
	}
	return a.header["grpc-message"]
}

// frame is a gRPC frame.
func frame(flags byte, payload []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(payload))), payload...)
}

func zipped(p []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(p)
	_ = z.Close()
	return b.Bytes()
}

const (
	unaryCall  = "/grpc.testing.TestService/UnaryCall"
	emptyCall  = "/grpc.testing.TestService/EmptyCall"
	fullDuplex = "/grpc.testing.TestService/FullDuplexCall"
	output     = "/grpc.testing.TestService/StreamingOutputCall"
)

// TestFraming sends frames and headers, right and wrong, one by one.
func TestFraming(t *testing.T) {
	e := gateway(t, false, native.Options{MaxReceiveBytes: 10_000})
	request, _ := proto.Marshal(&testgrpc.SimpleRequest{ResponseSize: 3})
	bomb := zipped(make([]byte, 5<<20))
	cases := []struct {
		name    string
		path    string
		fields  []string
		body    []byte
		status  string
		message string // in the text
		http    string // "200" where empty
	}{
		{name: "proper", path: unaryCall, body: frame(0, request), status: "0"},
		{name: "empty message", path: emptyCall, body: frame(0, nil), status: "0"},
		{name: "content type with codec", path: emptyCall, fields: []string{"content-type: application/grpc+proto"}, body: frame(0, nil), status: "0"},
		{name: "content type with parameter", path: emptyCall, fields: []string{"content-type: application/grpc+proto; charset=utf-8"}, body: frame(0, nil), status: "0"},
		{name: "no te", path: emptyCall, fields: []string{"te: "}, body: frame(0, nil), status: "0"},
		{name: "json codec", path: emptyCall, fields: []string{"content-type: application/grpc+json"}, body: frame(0, nil), status: "3", http: "415", message: "use application/grpc"},
		{name: "GET", path: emptyCall, fields: []string{":method: GET"}, status: "13", http: "405", message: "POST"},
		{name: "unknown method", path: "/grpc.testing.TestService/No", body: frame(0, nil), status: "12", message: "unknown method /grpc.testing.TestService/No"},
		{name: "unknown service", path: "/no.Such/Call", body: frame(0, nil), status: "12", message: "unknown method"},
		{name: "no method in the path", path: "/", body: frame(0, nil), status: "12", message: "unknown method"},
		{name: "no message", path: unaryCall, status: "12", message: "received no request message"},
		{name: "two messages", path: emptyCall, body: append(frame(0, nil), frame(0, nil)...), status: "12", message: "multiple request messages"},
		{name: "two messages, server stream", path: output, body: append(frame(0, nil), frame(0, nil)...), status: "12", message: "multiple request messages"},
		{name: "no message, server stream", path: output, status: "12", message: "received no request message"},
		{name: "header cut", path: emptyCall, body: []byte{0, 0, 0}, status: "13", message: "ends inside a message"},
		{name: "message cut", path: unaryCall, body: frame(0, request)[:6], status: "13", message: "ends inside a message"},
		{name: "garbage after the message", path: unaryCall, body: append(frame(0, request), 'x'), status: "13", message: "ends inside a message"},
		{name: "length over the limit", path: unaryCall, body: []byte{0, 0, 0, 0x27, 0x11}, status: "8", message: "larger than max (10001 vs. 10000)"},
		{name: "length of 4 GiB", path: unaryCall, body: []byte{0, 0xff, 0xff, 0xff, 0xff}, status: "8", message: "larger than max (4294967295 vs. 10000)"},
		{name: "unknown flags", path: unaryCall, body: frame(2, request), status: "13", message: "unexpected payload format 2"},
		{name: "flag without encoding", path: unaryCall, body: frame(1, zipped(request)), status: "13", message: "compressed flag set with identity or empty encoding"},
		{name: "flag with identity", path: unaryCall, fields: []string{"grpc-encoding: identity"}, body: frame(1, zipped(request)), status: "13", message: "compressed flag"},
		{name: "gzip", path: unaryCall, fields: []string{"grpc-encoding: gzip"}, body: frame(1, zipped(request)), status: "0"},
		{name: "gzip announced, not used", path: unaryCall, fields: []string{"grpc-encoding: gzip"}, body: frame(0, request), status: "0"},
		{name: "not gzip", path: unaryCall, fields: []string{"grpc-encoding: gzip"}, body: frame(1, request), status: "13", message: "failed to decompress"},
		{name: "gzip cut", path: unaryCall, fields: []string{"grpc-encoding: gzip"}, body: frame(1, zipped(request)[:15]), status: "13", message: "failed to decompress"},
		{name: "gzip bomb", path: unaryCall, fields: []string{"grpc-encoding: gzip"}, body: frame(1, bomb), status: "8", message: "after decompression larger than max 10000"},
		{name: "unknown encoding", path: unaryCall, fields: []string{"grpc-encoding: snappy"}, body: frame(0, request), status: "12", message: `grpc-encoding "snappy"`},
		{name: "timeout", path: emptyCall, fields: []string{"grpc-timeout: 99999999H"}, body: frame(0, nil), status: "0"},
		{name: "timeout of nothing", path: emptyCall, fields: []string{"grpc-timeout: 0n"}, body: frame(0, nil), status: "4"},
		{name: "timeout too long", path: emptyCall, fields: []string{"grpc-timeout: 123456789S"}, body: frame(0, nil), status: "13", http: "400", message: "malformed grpc-timeout"},
		{name: "timeout without unit", path: emptyCall, fields: []string{"grpc-timeout: 10"}, body: frame(0, nil), status: "13", http: "400", message: "malformed grpc-timeout"},
		{name: "timeout with a sign", path: emptyCall, fields: []string{"grpc-timeout: -1S"}, body: frame(0, nil), status: "13", http: "400", message: "malformed grpc-timeout"},
		{name: "binary metadata", path: emptyCall, fields: []string{"a-bin: AAEC,AAE=,"}, body: frame(0, nil), status: "0"},
		{name: "malformed binary metadata", path: emptyCall, fields: []string{"a-bin: ?"}, body: frame(0, nil), status: "13", http: "400", message: `malformed binary metadata in header "a-bin"`},
	}
	r := dialRaw(t, e)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r.t = t
			id := r.open(c.path, c.body == nil, c.fields...)
			if c.body != nil {
				r.must(r.fr.WriteData(id, true, c.body))
			}
			a := r.read(id)
			if c.http == "" {
				c.http = "200"
			}
			if a.header[":status"] != c.http || a.status() != c.status || !strings.Contains(a.message(), c.message) {
				t.Errorf("HTTP %s, grpc-status %s, %q; want HTTP %s, %s, %q", a.header[":status"], a.status(), a.message(), c.http, c.status, c.message)
			}
			if !strings.HasPrefix(a.header["content-type"], "application/grpc") {
				t.Errorf("content-type %q", a.header["content-type"])
			}
			if c.status != "0" && !a.trailersOnly {
				t.Errorf("an early error came in %v, %q, %v; want a header alone", a.header, a.data, a.trailer)
			}
			if c.name == "unknown encoding" && a.header["grpc-accept-encoding"] != "identity,gzip" {
				t.Errorf("grpc-accept-encoding %q", a.header["grpc-accept-encoding"])
			}
			if c.name == "GET" && a.header["allow"] != "POST" {
				t.Errorf("allow %q", a.header["allow"])
			}
		})
	}
}

// TestChunkedFrames sends one message in DATA frames of every size.
func TestChunkedFrames(t *testing.T) {
	e := gateway(t, false, native.Options{})
	request, _ := proto.Marshal(&testgrpc.SimpleRequest{ResponseSize: 5, Payload: &testgrpc.Payload{Body: make([]byte, 20)}})
	body := frame(0, request)
	r := dialRaw(t, e)
	var want []byte
	for size := 1; size <= len(body); size++ {
		id := r.open(unaryCall, false)
		for rest := body; len(rest) > 0; {
			n := min(size, len(rest))
			r.must(r.fr.WriteData(id, n == len(rest), rest[:n]))
			rest = rest[n:]
		}
		a := r.read(id)
		if want == nil {
			want = a.data
		}
		if a.status() != "0" || !bytes.Equal(a.data, want) || len(a.data) < 10 {
			t.Fatalf("in frames of %d: status %s, %d bytes", size, a.status(), len(a.data))
		}
	}
}

// TestGzipAnswer: who sends gzip and accepts it gets it back.
func TestGzipAnswer(t *testing.T) {
	e := gateway(t, false, native.Options{})
	request, _ := proto.Marshal(&testgrpc.SimpleRequest{ResponseSize: 10_000})
	for accept, want := range map[string]byte{"gzip": 1, "identity, gzip;q=1": 1, "identity": 0, "gzip;q=0": 0} {
		r := dialRaw(t, e)
		id := r.open(unaryCall, false, "grpc-encoding: gzip", "grpc-accept-encoding: "+accept)
		r.must(r.fr.WriteData(id, true, frame(1, zipped(request))))
		a := r.read(id)
		if a.status() != "0" || a.data[0] != want || (a.header["grpc-encoding"] == "gzip") != (want == 1) {
			t.Errorf("accept %q: flag %d, header %v", accept, a.data[0], a.header)
		}
	}
}

// TestEarlyEnd: when the call ends before the client half-closed, the status
// comes first and then a reset without an error.
func TestEarlyEnd(t *testing.T) {
	e := gateway(t, false, native.Options{})
	r := dialRaw(t, e)
	request, _ := proto.Marshal(&testgrpc.StreamingOutputCallRequest{ResponseStatus: &testgrpc.EchoStatus{Code: 2000, Message: "own"}})
	id := r.open(fullDuplex, false)
	r.must(r.fr.WriteData(id, false, frame(0, request)))
	if a := r.read(id); a.status() != "2000" || a.message() != "own" {
		t.Errorf("got %+v", a)
	}
	if a := r.read(id); !a.reset || a.resetCode != http2.ErrCodeNo {
		t.Errorf("got %+v, want RST_STREAM(NO_ERROR)", a)
	}
}

// TestManyHeaders: the door adds no limit of its own, nor a panic.
func TestManyHeaders(t *testing.T) {
	e := gateway(t, false, native.Options{})
	r := dialRaw(t, e)
	var fields []string
	for i := range 400 {
		fields = append(fields, fmt.Sprintf("x-many-%d: %d", i, i))
	}
	id := r.open(emptyCall, false, fields...)
	r.must(r.fr.WriteData(id, true, frame(0, nil)))
	if a := r.read(id); a.status() != "0" {
		t.Errorf("got %+v", a)
	}
}

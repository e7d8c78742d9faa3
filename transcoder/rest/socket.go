package rest

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/transomhq/transom/rpc"
)

// Shape is how the messages of one call look, for a door that carries them by
// other means than a request's body: each says what path and query say, too.
// One goroutine may use the methods of requests while another uses those of
// responses.
type Shape struct {
	x       *exchange
	scratch *scratch // path and query as read, once a message was
}

// Bind returns the shape of a call that r makes through match, which must not
// change while the shape is in use.
func (d *Door) Bind(r *http.Request, call *rpc.Call, match *rpc.Match) *Shape {
	return &Shape{x: &exchange{door: d, plan: d.plans[match.Binding.ID], call: call, r: r, match: match}}
}

// Wholes are the shapes of whole messages, whatever the bindings of their
// methods. It is safe for concurrent use.
type Wholes struct {
	door *Door

	mu       sync.Mutex
	compiler *compiler
	plans    map[*rpc.Method]*plan
}

// Wholes returns them. A method's is compiled when it is first asked for.
func (d *Door) Wholes() *Wholes {
	return &Wholes{door: d, compiler: newCompiler(&d.opts), plans: map[*rpc.Method]*plan{}}
}

// Shape returns the shape of method's messages.
func (w *Wholes) Shape(method *rpc.Method) (*Shape, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.plans[method]
	if p == nil {
		var err error
		if p, err = w.compiler.plan(&rpc.Binding{Method: method, HTTPMethod: http.MethodPost, Body: "*"}); err != nil {
			return nil, err
		}
		w.plans[method] = p
	}
	r := &http.Request{URL: &url.URL{}} // only its query is asked for
	return &Shape{x: &exchange{door: w.door, plan: p, r: r, match: &rpc.Match{}}}, nil
}

// TakesBody reports whether anything beside the URL says what the request is.
func (s *Shape) TakesBody() bool { return s.x.plan.body.kind != noBody }

// RawRequest reports whether request messages are google.api.HttpBody.
func (s *Shape) RawRequest() bool { return s.x.plan.body.httpBody }

// RawResponse reports whether response messages are google.api.HttpBody.
func (s *Shape) RawResponse() bool { return s.x.plan.out.httpBody }

// RequestURL appends the request that path and query are.
func (s *Shape) RequestURL(dst []byte) ([]byte, error) { return s.request(dst, nil, contentNone) }

// RequestJSON appends the request whose body is a JSON text.
func (s *Shape) RequestJSON(dst, text []byte) ([]byte, error) {
	return s.request(dst, text, contentJSON)
}

// RequestProto appends the request whose body is in protobuf wire format.
func (s *Shape) RequestProto(dst, wire []byte) ([]byte, error) {
	if s.TakesBody() && s.x.plan.body.message == nil {
		return dst, violation(s.x.bodyField(), "message: the body is the field %q, which is no message: send JSON", s.x.bodyField())
	}
	return s.request(dst, wire, contentProto)
}

// RequestRaw appends the request whose body is a google.api.HttpBody of data.
func (s *Shape) RequestRaw(dst, data []byte, contentType string) ([]byte, error) {
	body := protowire.AppendTag(make([]byte, 0, len(data)+len(contentType)+16), httpBodyContentType, protowire.BytesType)
	body = protowire.AppendString(body, strings.ToValidUTF8(contentType, "\uFFFD"))
	body = protowire.AppendTag(body, httpBodyData, protowire.BytesType)
	return s.request(dst, protowire.AppendBytes(body, data), contentProto)
}

func (s *Shape) request(dst, body []byte, kind contentKind) ([]byte, error) {
	x := s.x
	if s.scratch == nil {
		// Not from the pool: nobody says when the last message was.
		x.scratch = &scratch{}
		x.scratch.tree.reset()
		if err := x.bindPath(&x.scratch.tree); err != nil {
			return dst, err
		}
		if err := x.readQuery(&x.scratch.tree); err != nil {
			return dst, err
		}
		s.scratch = x.scratch
	}
	t := &x.scratch.tree
	dst, err := s.appendBody(dst, body, kind)
	if err != nil {
		return dst, err
	}
	if err := x.protectPath(t, dst); err != nil {
		return dst, err
	}
	dst = t.write(x.fillMask(dst, body, kind, t), 0)
	return dst, x.plan.missing(dst)
}

// appendBody appends the wire bytes of the field that the body fills. Here, the
// wire format of a google.api.HttpBody is just that.
func (s *Shape) appendBody(dst, body []byte, kind contentKind) ([]byte, error) {
	b := &s.x.plan.body
	if !b.httpBody || kind != contentProto {
		return s.x.appendBody(dst, body, kind)
	}
	if !validWire(b.message, body, s.x.door.opts.MaxDepth) {
		return dst, violation(s.x.bodyField(), "message: not a valid %s in protobuf wire format", b.message.FullName())
	}
	return wrap(dst, b.fields, func(dst []byte) ([]byte, error) { return append(dst, body...), nil })
}

// ResponseJSON appends the JSON text of a response in wire format, in one line.
func (s *Shape) ResponseJSON(dst, wire []byte) ([]byte, error) {
	text := s.x.plan.out.text
	if st := s.x.plan.stream; st != nil {
		text = st.text
	}
	for _, fd := range s.x.plan.out.fields[:max(len(s.x.plan.out.fields)-1, 0)] {
		inner, ok := gather(nil, wire, fd)
		if !ok {
			return dst, errBrokenResponse()
		}
		wire = inner
	}
	return text.AppendJSON(dst, wire)
}

// ResponseProto appends the response, or the part that response_body names, in
// wire format.
func (s *Shape) ResponseProto(dst, wire []byte) ([]byte, error) {
	for _, fd := range s.x.plan.out.fields {
		if s.x.plan.out.message == nil { // the part is no message: the whole is sent
			break
		}
		inner, ok := gather(nil, wire, fd)
		if !ok {
			return dst, errBrokenResponse()
		}
		wire = inner
	}
	return append(dst, wire...), nil
}

// ResponseRaw appends the data of a response that is a google.api.HttpBody,
// and returns its content type.
func (s *Shape) ResponseRaw(dst, wire []byte) ([]byte, string, error) {
	var buf []byte
	media, data, err := s.x.httpBody(&buf, wire)
	return append(dst, data...), media, err
}

func errBrokenResponse() error { return badAnswer(&exchange{}, nil) }

// Metadata returns the metadata that a request's header means.
func (d *Door) Metadata(h http.Header) (metadata.MD, error) { return d.headers.inbound(h) }

// Timeout returns the deadline that a request's header asks for; false: none.
func (d *Door) Timeout(h http.Header) (time.Duration, bool, error) {
	x := exchange{door: d, r: &http.Request{Header: h}}
	return x.timeout()
}

// AppendStatus appends a status as the JSON of a google.rpc.Status, in the
// profile's style.
func (d *Door) AppendStatus(dst []byte, st *status.Status) []byte {
	p := st.Proto()
	p.Message = strings.ToValidUTF8(p.GetMessage(), "\uFFFD")
	return d.errors.render(dst, mediaJSON, 0, p)
}

package edge

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/transomhq/transom/edge/framing"
	"github.com/transomhq/transom/rpc"
)

// serveHTTP is the way of one request through the edge.
func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	x, r := s.open(w, r)
	x.begin()
	defer x.finish()
	defer x.rescue(r)
	if err := s.check(r, x.conn); err != nil {
		s.refuse(x, r, err)
		return
	}
	if r.RequestURI == "*" { // OPTIONS *: nothing but a sign of life
		x.WriteHeader(http.StatusNoContent)
		return
	}
	s.opts.Handler(x, r, x.call)
}

// open opens the request's record and its exchange, and sets the header fields
// that every answer has. It returns the request as the handler gets it.
func (s *Server) open(w http.ResponseWriter, r *http.Request) (*exchange, *http.Request) {
	c := connOf(r)
	call := rpc.NewCall(s.opts.Finish)
	call.Client = clientIP(c.peer, r.Header[s.opts.ClientIPHeader], s.opts.ClientIPHeader, s.trust)
	call.RequestID = requestID(r.Header, c.trusted)
	call.Host = hostOf(r.Host)
	call.HTTPMethod = r.Method
	call.Path = pathOf(r.RequestURI)
	call.UserAgent = r.UserAgent()
	call.Proto = r.Proto
	call.TLS, r.TLS = c.tls, c.tls
	if !c.trusted {
		for _, name := range s.forwarding {
			delete(r.Header, name)
		}
	}

	x := &exchange{ResponseWriter: w, s: s, conn: c, call: call}
	x.id[0] = call.RequestID
	r.Header[requestIDField] = x.id[:1:1]
	h := w.Header()
	h[requestIDField] = x.id[:1:1]
	for _, p := range s.header {
		h[p.name] = p.values
	}
	if len(s.security) > 0 && !isFramed(r.Header) {
		for _, p := range s.security {
			h[p.name] = p.values
		}
	}
	if c.tls != nil && s.hsts != nil {
		h["Strict-Transport-Security"] = s.hsts
	}
	if s.ending.Load() { // on HTTP/2 it becomes GOAWAY
		h["Connection"] = []string{"close"}
	}
	if r.Body == nil || r.Body == http.NoBody {
		return x, r
	}
	x.body = body{ReadCloser: r.Body, x: x, limit: s.opts.Limits.BodyBytes}
	if isFramed(r.Header) {
		x.body.limit = -1
		x.bodyFree.Store(true)
		x.writeFree.Store(true)
	}
	// A copy, since the server looks at its own request's body afterwards, to
	// see what is left of it and whether "100 Continue" was sent.
	r2 := new(http.Request)
	*r2 = *r
	r2.Body = &x.body
	return x, r2
}

// rescue answers for a handler that panicked: with an error while nothing was
// written, else by breaking off, never with a well-formed lie.
func (x *exchange) rescue(r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	err := rpc.Errorf(codes.Internal, "internal error").WithCause(fmt.Errorf("panic: %v", v))
	if e, _ := v.(error); !errors.Is(e, http.ErrAbortHandler) {
		x.s.log.Error("panic in a handler", "panic", fmt.Sprint(v), "request_id", x.call.RequestID,
			"path", x.call.Path, "stack", string(debug.Stack()))
		x.call.SetResult(err)
		if x.status == 0 {
			x.s.refuse(x, r, err)
			return
		}
	}
	panic(http.ErrAbortHandler)
}

// finish closes the exchange and its record.
func (x *exchange) finish() {
	x.end()
	if x.status != 0 {
		x.call.Update(func(o *rpc.Outcome) {
			if o.HTTPStatus == 0 {
				o.HTTPStatus = x.status
			}
		})
	}
	x.call.Finish()
}

// check refuses what no method could want. For HTTP/1.1 the framing guard has
// done most of it.
func (s *Server) check(r *http.Request, c *conn) *rpc.Error {
	if r.ProtoMajor == 2 {
		if err := s.checkHTTP2(r); err != nil {
			return fromFraming(err)
		}
	}
	if limit := s.opts.Limits.BodyBytes; limit >= 0 && r.ContentLength > limit && !isFramed(r.Header) {
		return tooLarge(limit)
	}
	return nil
}

// checkHTTP2 does for HTTP/2 what the framing guard does for HTTP/1.1.
func (s *Server) checkHTTP2(r *http.Request) *framing.Error {
	lim := &s.opts.Limits
	if len(r.RequestURI) > lim.URIBytes {
		return &framing.Error{Status: 414, Message: "request target is too long"}
	}
	fields, bytes := 0, len(r.RequestURI)+len(r.Host)
	for name, values := range r.Header {
		fields += len(values)
		for _, v := range values {
			bytes += len(name) + len(v) + 4
		}
	}
	hosts := r.Header["Host"]
	delete(r.Header, "Host")
	switch {
	case fields > lim.HeaderFields:
		return &framing.Error{Status: 431, Message: "too many request header fields"}
	case bytes > lim.HeaderBytes:
		return &framing.Error{Status: 431, Message: "request header fields are too large"}
	case r.Method == http.MethodConnect && r.Header[":protocol"] == nil:
		return &framing.Error{Status: 501, Message: "method CONNECT is not supported"}
	case !framing.ValidHost(r.Host):
		return &framing.Error{Status: 400, Message: "malformed or missing :authority"}
	case len(hosts) > 1 || len(hosts) == 1 && !strings.EqualFold(hosts[0], r.Host):
		return &framing.Error{Status: 400, Message: "the Host header field differs from :authority"}
	case len(r.Header["Content-Length"]) > 1:
		return &framing.Error{Status: 400, Message: "more than one Content-Length header field"}
	}
	return framing.CheckPath(r.RequestURI)
}

// isFramed reports whether the body is a stream of framed messages, whose door
// bounds each of them and which may pause.
func isFramed(h http.Header) bool {
	v := h["Content-Type"]
	return len(v) == 1 && (hasPrefixFold(v[0], "application/grpc") || hasPrefixFold(v[0], "application/connect+"))
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// requestID returns the id that a trusted proxy gave the request, else a new one.
func requestID(h http.Header, trusted bool) string {
	if v := h[requestIDField]; trusted && len(v) == 1 && validRequestID(v[0]) {
		return v[0]
	}
	return newRequestID()
}

// hostOf returns host without its port, brackets and last dot, in lower case.
func hostOf(host string) string {
	if strings.HasPrefix(host, "[") {
		if end := strings.IndexByte(host, ']'); end > 0 {
			return strings.ToLower(host[1:end])
		}
	}
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		host = host[:i]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// pathOf returns the path of a request target as it was sent, escaped.
func pathOf(uri string) string {
	uri, _, _ = strings.Cut(uri, "?")
	if strings.HasPrefix(uri, "/") || uri == "*" {
		return uri
	}
	if _, rest, ok := strings.Cut(uri, "://"); ok { // absolute form
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			return rest[i:]
		}
		return "/"
	}
	return uri
}

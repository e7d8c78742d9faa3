package connect

import (
	"encoding/base64"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/transcoder/envelope"
	"github.com/transomhq/transom/transcoder/serverstream"
)

const streamPrefix = "application/connect+"

// The codecs of the protocol.
const (
	codecJSON  = "json"
	codecProto = "proto"
)

// request is what the headers, or the query of a GET, say about a call.
type request struct {
	stream     bool // enveloped messages
	get        bool
	codec      string
	gzip       bool   // the request is, or its messages may be, gzip
	gzipAnswer bool   // the client accepts gzip
	message    []byte // of a GET
	timeout    *time.Duration
	json       *methodPlans // for codecJSON
}

// parse reads them. The request that is returned beside an error knows at
// least in which form to answer.
func (d *Door) parse(r *http.Request, method *rpc.Method) (request, *rpc.Error) {
	var q request
	if r.Method == http.MethodGet {
		q.get = true
		err := d.parseGet(&q, r, method)
		return q, err
	}
	contentType, params, mimeErr := mime.ParseMediaType(r.Header.Get("Content-Type"))
	q.codec, q.stream = strings.CutPrefix(contentType, streamPrefix)
	if !q.stream {
		q.codec = strings.TrimPrefix(contentType, "application/")
	}
	q.acceptEncoding(r)
	if r.Method != http.MethodPost {
		return q, methodNotAllowed(r.Method, http.MethodPost)
	}
	if method == nil {
		return q, unknown(r)
	}
	if mimeErr != nil || q.stream == method.Unary() || !d.knows(q.codec) || !utf8Charset(params) {
		return q, unsupported(r.Header.Get("Content-Type"), d.accepts(method))
	}
	if v := r.Header.Get(versionHeader); v != "" && v != "1" {
		return q, rpc.Errorf(codes.InvalidArgument, "Connect-Protocol-Version is %q: this is version 1", v)
	}
	encoding := r.Header.Get("Content-Encoding")
	if q.stream {
		encoding = r.Header.Get("Connect-Content-Encoding")
	}
	if err := q.contentEncoding(encoding); err != nil {
		return q, err
	}
	return q, d.finishParse(&q, r, method)
}

// parseGet reads the query of a GET: connect, encoding, message, base64, compression.
func (d *Door) parseGet(q *request, r *http.Request, method *rpc.Method) *rpc.Error {
	q.acceptEncoding(r)
	if method == nil {
		return unknown(r)
	}
	if !safe(method) {
		return methodNotAllowed(r.Method, http.MethodPost)
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return rpc.Errorf(codes.InvalidArgument, "the query is malformed").WithCause(err)
	}
	for _, name := range []string{"connect", "encoding", "message", "base64", "compression"} {
		if len(query[name]) > 1 {
			return rpc.Errorf(codes.InvalidArgument, "query parameter %q is given twice", name)
		}
	}
	if v := query.Get("connect"); v != "" && v != "v1" {
		return rpc.Errorf(codes.InvalidArgument, "query parameter connect is %q: this is v1", v)
	}
	if !query.Has("encoding") || !query.Has("message") {
		return rpc.Errorf(codes.InvalidArgument, `a GET needs the query parameters "encoding" and "message"`)
	}
	q.codec = query.Get("encoding")
	if !d.knows(q.codec) {
		return rpc.Errorf(codes.InvalidArgument, "query parameter encoding is %q: use one of json, proto", q.codec).
			WithHTTPStatus(http.StatusUnsupportedMediaType)
	}
	if err := q.contentEncoding(query.Get("compression")); err != nil {
		return err
	}
	q.message = []byte(query.Get("message"))
	if query.Get("base64") == "1" {
		text := strings.TrimRight(query.Get("message"), "=")
		if q.message, err = base64.RawURLEncoding.DecodeString(text); err != nil {
			return rpc.Errorf(codes.InvalidArgument, `query parameter "message" is not URL-safe base64`).WithCause(err)
		}
	}
	return d.finishParse(q, r, method)
}

// finishParse reads the timeout and finds the plans.
func (d *Door) finishParse(q *request, r *http.Request, method *rpc.Method) *rpc.Error {
	if v := r.Header.Get("Connect-Timeout-Ms"); v != "" {
		timeout, ok := parseTimeout(v)
		if !ok {
			return rpc.Errorf(codes.InvalidArgument, "malformed Connect-Timeout-Ms %q: at most 10 digits", v)
		}
		q.timeout = &timeout
	}
	if q.codec != codecJSON {
		return nil
	}
	var err *rpc.Error
	q.json, err = d.plans.of(method)
	return err
}

func (q *request) acceptEncoding(r *http.Request) {
	name := "Accept-Encoding"
	if q.stream {
		name = "Connect-Accept-Encoding"
	}
	q.gzipAnswer = envelope.AcceptsGzip(strings.Join(r.Header[name], ","))
}

func (q *request) contentEncoding(name string) *rpc.Error {
	switch name {
	case "", envelope.Identity:
		return nil
	case envelope.GzipName:
		q.gzip = true
		return nil
	}
	e := rpc.Errorf(codes.Unimplemented, "compression %q is not supported: use gzip or identity", name)
	header := "Accept-Encoding"
	if q.stream {
		header = "Connect-Accept-Encoding"
	}
	e.Header = []string{header, envelope.GzipName}
	return e
}

func (d *Door) knows(name string) bool {
	return name == codecProto || name == codecJSON && d.plans != nil
}

// accepts lists the content types that a method takes.
func (d *Door) accepts(method *rpc.Method) string {
	prefix := streamPrefix
	if method.Unary() {
		prefix = "application/"
	}
	if d.plans == nil {
		return prefix + codecProto
	}
	return prefix + codecJSON + ", " + prefix + codecProto
}

func unknown(r *http.Request) *rpc.Error {
	return serverstream.UnknownMethod(r).WithHTTPStatus(http.StatusNotFound)
}

func methodNotAllowed(got, allow string) *rpc.Error {
	e := rpc.Errorf(codes.Unimplemented, "the method cannot be called with HTTP %s: use %s", got, allow).
		WithHTTPStatus(http.StatusMethodNotAllowed)
	e.Header = []string{"Allow", allow}
	return e
}

// safe reports whether a method may be called with GET.
func safe(m *rpc.Method) bool {
	o, ok := m.Desc.Options().(*descriptorpb.MethodOptions)
	return ok && m.Unary() && o.GetIdempotencyLevel() == descriptorpb.MethodOptions_NO_SIDE_EFFECTS
}

func utf8Charset(params map[string]string) bool {
	charset, ok := params["charset"]
	return !ok || strings.EqualFold(charset, "utf-8")
}

// parseTimeout reads a number of milliseconds of at most 10 digits.
func parseTimeout(s string) (time.Duration, bool) {
	if len(s) > 10 {
		return 0, false
	}
	ms, err := strconv.ParseUint(s, 10, 64) // takes digits only: no sign, no space
	return time.Duration(ms) * time.Millisecond, err == nil
}

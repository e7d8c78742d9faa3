package rest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/transomhq/transom/rpc"
)

// Load reads the request: path, query and body, in this order, so that what
// can be refused without the body is.
func (x *exchange) Load(m *rpc.Message) error {
	x.mu.Lock()
	closed := x.closed
	x.mu.Unlock()
	if closed {
		return rpc.Errorf(codes.Canceled, "the request ended before its message was read")
	}
	kind, err := x.content()
	if err != nil {
		return err
	}
	x.scratch = x.door.pool.getScratch()
	wire := x.door.pool.get()
	*wire, err = x.read(*wire, kind)
	x.door.pool.putScratch(x.scratch)
	x.scratch = nil
	if err != nil {
		x.door.pool.Put(wire)
		return err
	}
	x.call.MessagesIn.Add(1)
	m.SetBuffers(mem.BufferSlice{mem.NewBuffer(wire, x.door.pool)})
	return nil
}

// read appends the request's wire bytes to wire.
func (x *exchange) read(wire []byte, kind contentKind) ([]byte, error) {
	t := &x.scratch.tree
	if err := x.bindPath(t); err != nil {
		return wire, err
	}
	if err := x.readQuery(t); err != nil {
		return wire, err
	}
	body := x.door.pool.get()
	defer x.door.pool.Put(body)
	if kind != contentNone {
		var err error
		if *body, err = x.readBody(*body); err != nil {
			return wire, err
		}
	}
	if kind == contentForm {
		if err := x.readForm(t, string(*body)); err != nil {
			return wire, err
		}
		wire = x.fillMask(wire, *body, kind, t)
	} else {
		var err error
		if wire, err = x.appendBody(wire, *body, kind); err != nil {
			return wire, err
		}
		if err := x.protectPath(t, wire); err != nil {
			return wire, err
		}
		wire = x.fillMask(wire, *body, kind, t)
	}
	wire = t.write(wire, 0)
	return wire, x.plan.missing(wire)
}

func (x *exchange) readQuery(t *tree) error {
	if x.r.URL.RawQuery == "" {
		return nil
	}
	b := &x.plan.body
	f := fieldsOf{x: x, t: t, where: inQuery, withBody: b.kind == wholeBody, covered: b.fields}
	return f.read(x.r.URL.RawQuery)
}

// readForm reads a form as what the body fills, or as more of the query where
// the binding takes no body.
func (x *exchange) readForm(t *tree, raw string) error {
	f := fieldsOf{x: x, t: t, where: inForm, prefix: x.plan.body.fields}
	if err := x.rivalOfBody(t); err != nil {
		return err
	}
	for _, fd := range f.prefix {
		i := t.child(f.base, fd)
		if i == 0 {
			i = t.add(f.base, fd)
		}
		f.base = i
	}
	return f.read(raw)
}

// appendBody appends the wire bytes of the field that the body fills.
func (x *exchange) appendBody(wire, body []byte, kind contentKind) ([]byte, error) {
	b := &x.plan.body
	if b.kind == noBody {
		return wire, nil
	}
	if b.httpBody && kind != contentJSON {
		return wrap(wire, b.fields, func(dst []byte) ([]byte, error) { return x.appendHTTPBody(dst, body), nil })
	}
	empty := len(body) == 0 || x.plan.set.lax && isBlank(body) || b.kind == wholeBody && kind == contentJSON && isNull(body) && !isJSONText(b.message)
	switch {
	case empty && (b.kind == wholeBody || b.message == nil):
		return wire, nil
	case empty:
		return wrap(wire, b.fields, func(dst []byte) ([]byte, error) { return dst, nil })
	case kind == contentProto:
		if !validWire(b.message, body, x.door.opts.MaxDepth) {
			return wire, violation(x.bodyField(), "request body: not a valid %s in protobuf wire format", b.message.FullName())
		}
		return wrap(wire, b.fields, func(dst []byte) ([]byte, error) { return append(dst, body...), nil })
	}
	outer := b.fields
	if len(outer) > 0 {
		outer = outer[:len(outer)-1]
	}
	return wrap(wire, outer, func(dst []byte) ([]byte, error) {
		dst, err := b.text.AppendWire(dst, body)
		if err != nil {
			return dst, badText(x.bodyField(), err)
		}
		return dst, nil
	})
}

// bodyField names the field that the body fills, "" for the whole message.
func (x *exchange) bodyField() string {
	if len(x.plan.body.fields) == 0 {
		return ""
	}
	return pathOf(x.plan.body.fields)
}

// wrap appends what f appends as the content of the message at fields.
func wrap(dst []byte, fields []protoreflect.FieldDescriptor, f func([]byte) ([]byte, error)) ([]byte, error) {
	if len(fields) == 0 {
		return f(dst)
	}
	dst, start := appendField(dst, fields[0])
	dst, err := wrap(dst, fields[1:], f)
	if err != nil {
		return dst, err
	}
	return endField(dst, fields[0], start), nil
}

// The fields of google.api.HttpBody.
const (
	httpBodyContentType protowire.Number = 1
	httpBodyData        protowire.Number = 2
)

// appendHTTPBody appends a google.api.HttpBody of the body as it came.
func (x *exchange) appendHTTPBody(dst, body []byte) []byte {
	if ct := header(x.r.Header, "Content-Type"); ct != "" {
		dst = protowire.AppendTag(dst, httpBodyContentType, protowire.BytesType)
		dst = protowire.AppendString(dst, clip(ct))
	}
	if len(body) > 0 {
		dst = protowire.AppendTag(dst, httpBodyData, protowire.BytesType)
		dst = protowire.AppendBytes(dst, body)
	}
	return dst
}

// protectPath refuses a body that would change what the path, or clear what
// the query, has set.
func (x *exchange) protectPath(t *tree, wire []byte) error {
	if len(wire) == 0 {
		return nil
	}
	if x.plan.guard != nil {
		found := x.plan.guard.search(wire, x.elements(t))
		if found == malformed {
			return violation(x.bodyField(), "request body: not a valid message")
		}
		if found != nothingFound {
			path := pathOf(x.plan.binding.Variables[found].Fields)
			return violation(path, "request body: the path binds field %q, so the body cannot set or clear it", path)
		}
	}
	return x.rivalOfBody(t)
}

// rivalOfBody refuses a body whose field is in one oneof with a field of the query.
func (x *exchange) rivalOfBody(t *tree) error {
	at := int32(0)
	for _, fd := range x.plan.body.fields {
		if r := t.rival(at, fd); r != 0 {
			n := t.nodes[r].fd
			return violation(string(n.Name()), "request body: it sets %q, and %q of the same oneof %q is set, too", fd.Name(), n.Name(), fd.ContainingOneof().Name())
		}
		if at = t.child(at, fd); at == 0 {
			break
		}
	}
	return nil
}

// readBody appends the body, decompressed and within its limits, to dst.
func (x *exchange) readBody(dst []byte) ([]byte, error) {
	limit := x.plan.set.maxBody
	x.counted = countedReader{r: x.r.Body}
	counted := &x.counted
	defer func() { x.call.BytesIn.Add(counted.n) }()
	coding := header(x.r.Header, "Content-Encoding")
	if isIdentity(coding) {
		if n := x.r.ContentLength; n > 0 && n <= limit {
			dst = slices.Grow(dst, int(min(n, maxBuffer))+1)
		}
		dst, n, err := readTo(dst, counted, limit)
		if err != nil {
			return dst, x.readError(err)
		}
		if n > limit {
			return dst, tooLarge(limit)
		}
		return dst, nil
	}
	return x.inflate(dst, counted, coding)
}

// readTo appends up to limit+1 bytes of r to dst and says how many there were.
func readTo(dst []byte, r io.Reader, limit int64) ([]byte, int64, error) {
	var total int64
	for {
		if len(dst) == cap(dst) {
			dst = slices.Grow(dst, 512)
		}
		room := int64(cap(dst) - len(dst))
		n, err := r.Read(dst[len(dst) : len(dst)+int(min(room, limit+1-total))])
		dst = dst[:len(dst)+n]
		total += int64(n)
		switch {
		case total > limit:
			return dst, total, nil
		case errors.Is(err, io.EOF):
			return dst, total, nil
		case err != nil:
			return dst, total, err
		}
	}
}

// countedReader counts the bytes that came from the client.
type countedReader struct {
	r io.Reader
	n int64
}

func (c *countedReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func tooLarge(limit int64) error {
	return rpc.Errorf(codes.ResourceExhausted, "request body: larger than the limit of %d bytes", limit).WithHTTPStatus(http.StatusRequestEntityTooLarge)
}

// readError says why the client's body ended early.
func (x *exchange) readError(err error) error {
	var limit *http.MaxBytesError
	var said *rpc.Error // by the edge: too slow, too large, broken framing
	switch {
	case errors.As(err, &said):
		return said
	case errors.As(err, &limit):
		return tooLarge(limit.Limit)
	case x.r.Context().Err() != nil && errors.Is(x.r.Context().Err(), context.Canceled):
		return rpc.Errorf(codes.Canceled, "canceled by the client").WithCause(err)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return rpc.Errorf(codes.DeadlineExceeded, "request body: it did not arrive in time").WithHTTPStatus(http.StatusRequestTimeout).WithCause(err)
	}
	return rpc.Errorf(codes.InvalidArgument, "request body: it ended early, or its framing is broken").WithCause(fmt.Errorf("body: %w", err))
}

// isNull reports whether b is JSON's null: a whole message that is unset.
func isNull(b []byte) bool { return len(b) < 64 && string(bytes.TrimSpace(b)) == "null" }

func isBlank(b []byte) bool {
	for _, c := range b {
		if c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			return false
		}
	}
	return true
}

package rest

import (
	"net/http"
	"strconv"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/transcoder/codec"
)

// answer writes a success. Nothing is sent before the whole response is known
// to have the form that was asked for.
func (x *exchange) answer(resp *rpc.Message) error {
	wire, err := resp.Bytes()
	if err != nil {
		return badAnswer(x, err)
	}
	buf := x.door.pool.get()
	defer x.door.pool.Put(buf)
	media, vary := x.form.media, true
	var body []byte
	switch {
	case x.plan.out.httpBody:
		vary = false
		if media, body, err = x.httpBody(buf, wire); err != nil {
			return err
		}
	case x.form.kind == formProto:
		if body, err = x.part(buf, wire); err != nil {
			return err
		}
	default:
		if *buf, err = x.appendJSON(*buf, wire); err != nil {
			return badAnswer(x, err)
		}
		body = *buf
	}
	header, trailer := x.metadata()
	h := x.w.Header()
	x.door.headers.writeHeader(h, header)
	if vary {
		x.addVary(h)
	}
	status := x.door.headers.httpStatus(header)
	if status == 0 {
		status = http.StatusOK
	}
	x.call.MessagesOut.Add(1)
	x.send(status, media, body, trailer)
	return nil
}

// appendJSON appends the JSON text of the response, or of the part of it that
// response_body names.
func (x *exchange) appendJSON(dst, wire []byte) ([]byte, error) {
	fields := x.plan.out.fields
	for _, fd := range fields[:max(len(fields)-1, 0)] {
		inner, ok := gather(nil, wire, fd)
		if !ok {
			return dst, &codec.Error{Kind: codec.BadWire, Reason: "malformed wire format"}
		}
		wire = inner
	}
	return x.plan.out.text.AppendJSON(dst, wire)
}

// part returns the message that the response is: the whole one, or the one
// that response_body names, whose pieces are joined in buf.
func (x *exchange) part(buf *[]byte, wire []byte) ([]byte, error) {
	for i, fd := range x.plan.out.fields {
		var dst []byte
		if i == 0 {
			dst = *buf
		}
		inner, ok := gather(dst, wire, fd)
		if !ok {
			return nil, badAnswer(x, &codec.Error{Kind: codec.BadWire, Reason: "malformed wire format"})
		}
		if i == 0 {
			*buf = inner
		}
		wire = inner
	}
	return wire, nil
}

// httpBody returns the content type and the data of a google.api.HttpBody.
func (x *exchange) httpBody(buf *[]byte, wire []byte) (media string, data []byte, err error) {
	if wire, err = x.part(buf, wire); err != nil {
		return "", nil, err
	}
	for len(wire) > 0 {
		f, rest, ok := nextField(wire)
		if !ok {
			return "", nil, badAnswer(x, &codec.Error{Kind: codec.BadWire, Reason: "malformed wire format"})
		}
		wire = rest
		if f.typ != protowire.BytesType {
			continue
		}
		v, _ := protowire.ConsumeBytes(f.value)
		switch f.num {
		case httpBodyContentType:
			media = string(v)
		case httpBodyData:
			data = v
		}
	}
	if media == "" || !isText(media) {
		media = "application/octet-stream"
	}
	return media, data, nil
}

// badAnswer is the failure of a backend whose answer has no such form.
func badAnswer(x *exchange, err error) error {
	return rpc.Errorf(codes.Internal, "the backend's answer cannot be sent as %s", x.form.media).WithCause(err)
}

// setField sets a header field to one value, which it keeps in the exchange.
func (x *exchange) setField(h http.Header, name string, i int, value string) {
	x.values[i] = value
	h[name] = x.values[i : i+1 : i+1]
}

// addVary says that the response depends on Accept.
func (x *exchange) addVary(h http.Header) {
	if old := h["Vary"]; len(old) > 0 {
		h["Vary"] = append(old, "Accept")
		return
	}
	x.setField(h, "Vary", 3, "Accept")
}

// send writes the response in one piece. HEAD gets all of it but the body.
func (x *exchange) send(status int, media string, body []byte, trailer metadata.MD) {
	h := x.w.Header()
	bodyless := status == http.StatusNoContent || status == http.StatusResetContent || status == http.StatusNotModified
	if !bodyless {
		x.setField(h, "Content-Type", 0, media)
		x.setField(h, "X-Content-Type-Options", 1, "nosniff")
		var done func()
		body, done = x.compress(h, media, body)
		defer done()
	}
	trailing := !bodyless && len(trailer) > 0 && acceptsTrailers(x.r.Header)
	switch {
	case trailing:
		x.door.headers.trailerNames(h, trailer)
	case !bodyless:
		x.setField(h, "Content-Length", 2, strconv.Itoa(len(body)))
	}
	x.call.Update(func(o *rpc.Outcome) { o.HTTPStatus = status })
	x.w.WriteHeader(status)
	if !bodyless && x.r.Method != http.MethodHead && len(body) > 0 {
		n, _ := x.w.Write(body) // a client that has gone needs no answer
		x.call.BytesOut.Add(int64(n))
	}
	if trailing {
		x.door.headers.writeTrailer(h, trailer)
	}
}

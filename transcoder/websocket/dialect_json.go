package websocket

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/transomhq/transom/transcoder/websocket/frame"
)

// jsonDialect is transom.v1+json: one JSON object a text frame.
type jsonDialect struct {
	many   bool
	status func(dst []byte, st *status.Status) []byte
}

// jsonFrame is a client's envelope.
type jsonFrame struct {
	ID        *uint64          `json:"id"`
	Auth      *jsonAuth        `json:"auth"`
	Start     *jsonStart       `json:"start"`
	Message   *json.RawMessage `json:"message"`
	HalfClose bool             `json:"halfClose"`
	Cancel    bool             `json:"cancel"`
	Ack       int              `json:"ack"`
	Ping      *json.RawMessage `json:"ping"`
}

type jsonAuth struct {
	Token string `json:"token"`
}

type jsonStart struct {
	Method    string              `json:"method"`
	Header    map[string]jsonList `json:"header"`
	TimeoutMS int64               `json:"timeoutMs"`
	Credits   *int                `json:"credits"`
}

// jsonList is one text, or a list of them.
type jsonList []string

func (l *jsonList) UnmarshalJSON(p []byte) error {
	if len(p) > 0 && p[0] == '"' {
		*l = make(jsonList, 1)
		return json.Unmarshal(p, &(*l)[0])
	}
	return json.Unmarshal(p, (*[]string)(l))
}

// messagePrefix is how the envelope begins that a client of one call sends
// most: what is between it and the last brace is left to the message's own parser.
const messagePrefix = `{"message":`

func (d *jsonDialect) parse(text bool, p []byte, e *event) error {
	if !text {
		return &frame.Error{Code: frame.CodeUnsupported, Reason: "this subprotocol is text only"}
	}
	// What clients send most is left to the message's own parser, if it is one
	// JSON value and not the begin of more.
	if n := len(p) - 1; !d.many && n > len(messagePrefix) && p[n] == '}' && bytes.HasPrefix(p, []byte(messagePrefix)) {
		if body := p[len(messagePrefix):n]; json.Valid(body) {
			e.body, e.kind = body, JSON
			return nil
		}
	}
	var f jsonFrame
	dec := json.NewDecoder(bytes.NewReader(p))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return badFrame(jsonReason(err))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return badFrame("more than one JSON value in a frame")
	}
	ofCall := f.Start != nil || f.Message != nil || f.HalfClose || f.Cancel || f.Ack != 0
	switch {
	case d.many && f.ID == nil && ofCall:
		return badFrame(`"id" is missing`)
	case !d.many && (f.ID != nil || f.Start != nil):
		return badFrame(`a socket of one call has no "id" and no "start"`)
	}
	return f.into(e)
}

func badFrame(reason string) *frame.Error {
	return &frame.Error{Code: frame.CodeInvalidData, Reason: frame.CutReason("envelope: " + reason)}
}

// jsonReason is an error of encoding/json without the names of our types.
func jsonReason(err error) string {
	var typ *json.UnmarshalTypeError
	if errors.As(err, &typ) {
		return "the type of " + strconv.Quote(typ.Field) + " is wrong"
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return "not JSON at byte " + strconv.FormatInt(syntax.Offset, 10)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "it ends too early"
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

func (f *jsonFrame) into(e *event) error {
	if f.ID != nil {
		e.id = *f.ID
	}
	if f.Auth != nil {
		e.token, e.auth = f.Auth.Token, true
	}
	if f.Message != nil {
		e.body, e.kind = *f.Message, JSON
	}
	if f.Ping != nil {
		e.ping, e.pinged = *f.Ping, true
	}
	e.halfClose, e.cancel, e.ack = f.HalfClose, f.Cancel, f.Ack
	if f.Ack < 0 {
		return badFrame(`"ack" is negative`)
	}
	if f.Start == nil {
		return nil
	}
	e.start = &start{method: methodName(f.Start.Method), header: http.Header{}, credits: f.Start.Credits}
	for name, values := range f.Start.Header {
		for _, v := range values {
			e.start.header.Add(name, v)
		}
	}
	if f.Start.TimeoutMS < 0 || f.Start.Credits != nil && *f.Start.Credits < 0 {
		return badFrame(`"timeoutMs" and "credits" are not negative`)
	}
	e.start.timeout = time.Duration(min(f.Start.TimeoutMS, 1<<40)) * time.Millisecond
	return nil
}

// begin opens an envelope, up to the colon of its member.
func (d *jsonDialect) begin(dst []byte, id uint64, member string) []byte {
	dst = append(dst, '{')
	if d.many && id != noID {
		dst = append(dst, `"id":`...)
		dst = strconv.AppendUint(dst, id, 10)
		dst = append(dst, ',')
	}
	dst = append(dst, '"')
	dst = append(dst, member...)
	return append(dst, '"', ':')
}

// noID marks an envelope that belongs to no call.
const noID = ^uint64(0)

func (d *jsonDialect) header(dst []byte, id uint64, md metadata.MD) (bool, []byte) {
	return true, append(appendMetadata(d.begin(dst, id, "header"), md), '}')
}

func (d *jsonDialect) message(dst []byte, id uint64, shape Shape, wire []byte) (bool, []byte, error) {
	dst, _, err := shape.AppendResponse(d.begin(dst, id, "message"), wire, JSON)
	return true, append(dst, '}'), err
}

func (d *jsonDialect) final(dst []byte, id uint64, st *status.Status, trailer metadata.MD) (bool, []byte) {
	dst = d.status(d.begin(dst, id, "status"), st)
	if len(trailer) > 0 {
		dst = appendMetadata(append(dst, `,"trailer":`...), trailer)
	}
	return true, append(dst, '}')
}

func (d *jsonDialect) note(dst []byte, id uint64, n note) (bool, []byte) {
	switch {
	case n.isPong:
		dst = append(d.begin(dst, id, "pong"), n.pong...)
	case n.goAway > 0:
		dst = append(d.begin(dst, noID, "goAway"), `{"retryAfterMs":`...)
		dst = append(strconv.AppendInt(dst, n.goAway.Milliseconds(), 10), '}')
	case n.renewed:
		dst = append(d.begin(dst, id, "auth"), `{"accepted":true}`...)
	default:
		dst = strconv.AppendInt(d.begin(dst, id, "ack"), int64(n.ack), 10)
	}
	return true, append(dst, '}')
}

// appendMetadata appends md as an object of lists.
func appendMetadata(dst []byte, md metadata.MD) []byte {
	out := map[string][]string{}
	visible(md, func(key string, values []string) { out[key] = values })
	text, err := json.Marshal(out) // sorts the keys
	if err != nil {                // strings only: cannot be
		return append(dst, "{}"...)
	}
	return append(dst, text...)
}

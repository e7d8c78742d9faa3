package rest

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/transcoder/codec"
)

// The forms of a response of many messages.
const (
	formLines     formKind = iota + 100 // JSON, a message a line (NDJSON)
	formEvents                          // server-sent events
	formArray                           // one JSON array
	formDelimited                       // protobuf, each message after its length
	formRaw                             // the bytes of google.api.HttpBody
)

const (
	mediaLines  = "application/x-ndjson"
	mediaEvents = "text/event-stream"
)

// streamPlan is what is known of a binding whose method is not unary.
type streamPlan struct {
	text   codec.Plan // of a response, in one line
	pretty codec.Plan // of a response in an array
	// listBody says that the JSON of one request message may be an array.
	listBody bool
	cursor   *rpc.Cursor // nil: none
	// cursorBound says that the path binds the place to resume from.
	cursorBound bool
	heartbeat   time.Duration
}

const defaultHeartbeat = 15 * time.Second

func (c *compiler) planStream(p *plan) error {
	m := p.binding.Method
	if m.Unary() {
		return nil
	}
	st := &streamPlan{pretty: p.out.text, text: p.out.text, heartbeat: defaultHeartbeat}
	p.stream = st
	if p.set.codec.Indent > 0 {
		flat := p.set.codec
		flat.Indent = 0
		var err error
		if st.text, err = c.text(m.Desc.Output(), p.out.fields, flat); err != nil {
			return err
		}
	}
	st.listBody = p.body.kind != noBody && maybeArray(p.body)
	var policy *policyv1.Streams
	if c.opts.Streams != nil {
		policy = c.opts.Streams(m)
	}
	if h := policy.GetHeartbeat(); h != nil {
		st.heartbeat = h.AsDuration()
	}
	if cur := policy.GetCursor(); cur != nil && m.ServerStreams {
		var err error
		if st.cursor, err = rpc.NewCursor(m, cur.GetEventField(), cur.GetRequestField()); err != nil {
			return err
		}
		for _, v := range p.binding.Variables {
			st.cursorBound = st.cursorBound || touches(v.Fields, st.cursor.RequestField())
		}
	}
	return nil
}

func maybeArray(b bodyPlan) bool {
	if b.message == nil {
		return b.fields[len(b.fields)-1].IsList()
	}
	name := b.message.FullName()
	return name == "google.protobuf.ListValue" || name == "google.protobuf.Value"
}

// touches reports whether setting the field at b could change the one at a.
func touches(a, b []protoreflect.FieldDescriptor) bool {
	for i := range min(len(a), len(b)) {
		if a[i].Number() == b[i].Number() {
			continue
		}
		o := a[i].ContainingOneof()
		return o != nil && !o.IsSynthetic() && o.Fields().ByNumber(b[i].Number()) != nil
	}
	return true
}

// negotiateStream chooses the form of a response of many messages.
func (x *exchange) negotiateStream() (form, error) {
	if x.plan.out.httpBody {
		return form{kind: formRaw}, nil
	}
	offers := x.streamOffers()
	accept := x.r.Header["Accept"]
	if len(accept) == 0 || len(accept) == 1 && accept[0] == "*/*" {
		return offers[0], nil
	}
	ranges := parseAccept(accept)
	if f, ok := choose(ranges, offers); ok {
		return f, nil
	}
	problem, spec := weight(ranges, mediaProblem)
	if x.door.opts.Profile != Strict || len(ranges) == 0 || problem > 0 && spec == 3 {
		return offers[0], nil
	}
	text := "Accept: this method answers " + mediaLines + ", " + mediaEvents + " or " + mediaJSON
	if x.plan.out.message != nil {
		text += " or " + mediaProto
	}
	return form{}, rpc.Errorf(codes.InvalidArgument, "%s", text).WithHTTPStatus(http.StatusNotAcceptable)
}

// streamOffers are the forms that there are, the profile's own first.
func (x *exchange) streamOffers() []form {
	offers := make([]form, 0, 9)
	switch x.door.opts.Profile {
	case GRPCGateway: // its lines are application/json
		offers = append(offers, form{formLines, mediaJSON}, form{formLines, mediaLines}, form{formEvents, mediaEvents})
	case Envoy:
		offers = append(offers, form{formArray, mediaJSON}, form{formLines, mediaLines}, form{formEvents, mediaEvents})
	default:
		offers = append(offers, form{formLines, mediaLines}, form{formEvents, mediaEvents}, form{formArray, mediaJSON})
	}
	offers = append(offers, form{formLines, "application/ndjson"}, form{formLines, "application/jsonl"}, form{formLines, "application/x-jsonlines"})
	if x.plan.out.message != nil {
		offers = append(offers, form{formDelimited, mediaProto}, form{formDelimited, "application/proto"}, form{formDelimited, "application/protobuf"})
	}
	return offers
}

// appendFrame appends a message in the form of the response.
func (s *streaming) appendFrame(dst, wire []byte) ([]byte, error) {
	x := s.x
	var err error
	switch x.form.kind {
	case formLines:
		wrapped := x.door.opts.Profile == GRPCGateway
		if wrapped {
			dst = append(dst, `{"result":`...)
		}
		if dst, err = x.appendItem(x.plan.stream.text, dst, wire); err != nil {
			return dst, badAnswer(x, err)
		}
		if wrapped {
			dst = append(dst, '}')
		}
		return append(dst, '\n'), nil
	case formEvents:
		return s.appendEvent(dst, wire)
	case formArray:
		if s.sent > 0 {
			dst = append(dst, ',')
		}
		if dst, err = x.appendItem(x.plan.stream.pretty, dst, wire); err != nil {
			return dst, badAnswer(x, err)
		}
		return dst, nil
	}
	scratch := x.door.pool.get()
	defer x.door.pool.Put(scratch)
	if x.form.kind == formDelimited {
		if wire, err = x.part(scratch, wire); err != nil {
			return dst, err
		}
		return protowire.AppendBytes(dst, wire), nil
	}
	media, data, err := x.httpBody(scratch, wire)
	if err != nil {
		return dst, err
	}
	if !s.wrote {
		x.form.media = media
	}
	return append(dst, data...), nil
}

// appendItem appends the JSON of a response, or of what response_body names of it.
func (x *exchange) appendItem(text codec.Plan, dst, wire []byte) ([]byte, error) {
	fields := x.plan.out.fields
	for _, fd := range fields[:max(len(fields)-1, 0)] {
		inner, ok := gather(nil, wire, fd)
		if !ok {
			return dst, &codec.Error{Kind: codec.BadWire, Reason: "malformed wire format"}
		}
		wire = inner
	}
	return text.AppendJSON(dst, wire)
}

// appendEnd appends what stands after the last message; whole is false when
// the form cannot say how the call ended.
func (s *streaming) appendEnd(dst []byte, trailer metadata.MD, err error) (end []byte, whole bool) {
	switch s.x.form.kind {
	case formLines:
		if err != nil {
			dst = append(s.appendError(append(dst, `{"error":`...), err), '}', '\n')
		}
		return dst, true
	case formEvents:
		return s.appendLastEvent(dst, trailer, err), true
	case formArray:
		if err == nil {
			dst = append(dst, ']')
		}
	}
	return dst, err == nil
}

// appendError appends a google.rpc.Status as JSON.
func (s *streaming) appendError(dst []byte, err error) []byte {
	return s.x.door.errors.render(dst, mediaJSON, 0, publicStatus(err))
}

// publicStatus returns what a client may know of err, which is never a success.
func publicStatus(err error) *spb.Status {
	st := proto.CloneOf(rpc.StatusOf(err).Proto())
	if codes.Code(st.GetCode()) == codes.OK {
		st.Code, st.Message = int32(codes.Internal), "internal error"
	}
	st.Message = strings.ToValidUTF8(st.GetMessage(), "\uFFFD")
	return st
}

// failEarly writes an error as grpc-gateway does when a stream ends with it
// before its first message.
func (s *streaming) failEarly(header, trailer metadata.MD, err error) error {
	x := s.x
	h := x.w.Header()
	x.door.headers.writeHeader(h, header)
	st := publicStatus(err)
	status := statusOf(codes.Code(st.GetCode()))
	if v := rpc.ProxyStatus(err, x.call); v != "" {
		h[rpc.ProxyStatusHeader] = []string{v}
	}
	x.door.errors.explain(h, status, st)
	x.call.SetResult(err)
	body := append(s.appendError(append((*s.buf)[:0], `{"error":`...), err), '}', '\n')
	x.send(status, mediaJSON, body, trailer)
	return nil
}

// appendEvent appends a message as a server-sent event, with its position as
// the event's id.
func (s *streaming) appendEvent(dst, wire []byte) ([]byte, error) {
	x := s.x
	if c := x.plan.stream.cursor; c != nil {
		mark := len(dst)
		dst = append(dst, "id: "...)
		at := len(dst)
		position, ok := c.AppendPosition(dst, wire)
		if dst = position; !ok || !isEventID(dst[at:]) {
			dst = dst[:mark]
		} else {
			dst = append(dst, '\n')
		}
	}
	dst = append(dst, "data: "...)
	at := len(dst)
	dst, err := x.appendItem(x.plan.stream.text, dst, wire)
	if err != nil {
		return dst, badAnswer(x, err)
	}
	return append(eachLine(dst, at), '\n', '\n'), nil
}

// isEventID reports whether an id arrives as it was sent: a line end would
// start another field, and ids with NUL are ignored.
func isEventID(id []byte) bool {
	for _, c := range id {
		if c == '\n' || c == '\r' || c == 0 {
			return false
		}
	}
	return true
}

// eachLine makes every line of dst[at:] a field "data" of its own. JSON in one
// line has none to make.
func eachLine(dst []byte, at int) []byte {
	plain := true
	for _, c := range dst[at:] {
		if c == '\n' || c == '\r' {
			plain = false
			break
		}
	}
	if plain {
		return dst
	}
	text := strings.ReplaceAll(strings.ReplaceAll(string(dst[at:]), "\r\n", "\n"), "\r", "\n")
	return append(dst[:at], strings.ReplaceAll(text, "\n", "\ndata: ")...)
}

// appendLastEvent appends how the call ended: an event "error" with its
// status, or an event "end" with the trailer, so that a client need not take
// the end for a loss and come back.
func (s *streaming) appendLastEvent(dst []byte, trailer metadata.MD, err error) []byte {
	if err == nil {
		dst = append(dst, "event: end\ndata: {"...)
		if own := s.endTrailer(trailer); len(own) > 0 {
			dst = append(append(dst, `"trailer":`...), own...)
		}
		return append(dst, "}\n\n"...)
	}
	st := publicStatus(err)
	dst = append(dst, "event: error\n"...)
	dst = appendRetryField(dst, retryAfter(st))
	dst = append(dst, "data: "...)
	at := len(dst)
	dst = s.x.door.errors.render(dst, mediaJSON, 0, st)
	return append(eachLine(dst, at), '\n', '\n')
}

// endTrailer returns the trailer as a JSON object of lists.
func (s *streaming) endTrailer(trailer metadata.MD) []byte {
	h := http.Header{}
	s.x.door.headers.writeTrailer(h, trailer)
	if len(h) == 0 {
		return nil
	}
	dst := []byte{'{'}
	for _, name := range sortedKeys(h) {
		if len(dst) > 1 {
			dst = append(dst, ',')
		}
		dst = appendQuoted(dst, strings.ToLower(strings.TrimPrefix(name, trailerPrefix)))
		dst = append(dst, ':', '[')
		for i, v := range h[name] {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendQuoted(dst, v)
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

func retryAfter(st *spb.Status) time.Duration {
	for _, d := range st.GetDetails() {
		var info errdetails.RetryInfo
		if d.MessageIs(&info) && d.UnmarshalTo(&info) == nil {
			return info.GetRetryDelay().AsDuration()
		}
	}
	return 0
}

// appendRetryField appends how long an EventSource waits before it reconnects.
func appendRetryField(dst []byte, d time.Duration) []byte {
	if d <= 0 {
		return dst
	}
	dst = append(dst, "retry: "...)
	dst = strconv.AppendInt(dst, max(d.Milliseconds(), 1), 10)
	return append(dst, '\n')
}

// appendRetry appends the same as a block of its own, which is no event.
func appendRetry(dst []byte, d time.Duration) []byte {
	if d <= 0 {
		return dst
	}
	return append(appendRetryField(dst, d), '\n')
}

// heartbeat writes a comment when nothing else was written for a while, so
// that those on the way see that the stream lives, and a lost client is noticed.
func (s *streaming) heartbeat() time.Duration {
	every := s.x.plan.stream.heartbeat
	if !s.mu.TryLock() {
		return every // something is being written
	}
	defer s.mu.Unlock()
	if idle := time.Since(s.last); idle < every {
		return every - idle
	}
	if s.write([]byte(":\n\n")) != nil || s.batch.Flush() != nil {
		return 0
	}
	return every
}

func sortedKeys(h http.Header) []string { return slices.Sorted(maps.Keys(h)) }

package rest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/transomhq/transom/rpc"
)

// source is where the request messages of a call come from.
type source interface {
	// next returns the wire bytes of the next message, which are the caller's
	// to Free, and io.EOF after the last.
	next() (mem.BufferSlice, error)
	// close gives memory back, once nobody reads any more.
	close()
}

// source chooses by the form of the body. Nothing is read yet.
func (x *exchange) source() (source, error) {
	if !x.plan.binding.Method.ClientStreams || x.plan.body.kind == noBody {
		return &oneSource{x: x}, nil
	}
	if !isCodings(x.r.Header["Content-Encoding"]) {
		return nil, unsupported("request body: Content-Encoding must be gzip or zstd, once", "Accept-Encoding", "gzip, zstd")
	}
	body := bodySource{x: x}
	media, ok := mediaType(x.r.Header["Content-Type"])
	switch {
	case x.plan.body.httpBody && !(x.plan.set.lax && ok && isJSON(media)):
		return &rawSource{bodySource: body}, nil
	case ok && isLines(media):
		return body.text(false, true), nil
	case ok && isJSON(media):
		return body.text(!x.plan.stream.listBody, false), nil
	case ok && isProtobuf(media) && x.plan.body.message != nil:
		return &delimitedSource{bodySource: body}, nil
	case x.plan.set.lax: // grpc-gateway's default mux reads everything as JSON
		return body.text(!x.plan.stream.listBody, false), nil
	}
	types := "application/x-ndjson, application/json"
	if x.plan.body.message != nil {
		types += ", application/x-protobuf"
	}
	return nil, unsupported("request body: its Content-Type is not supported; send "+types+" (in UTF-8)", "Accept", types)
}

func isJSON(media string) bool {
	return media == "" || media == mediaJSON || strings.HasSuffix(media, "+json") && strings.HasPrefix(media, "application/")
}

// isLines reports whether media is JSON, a value a line.
func isLines(media string) bool {
	switch media {
	case mediaLines, "application/ndjson", "application/jsonl", "application/x-jsonlines", "application/jsonlines", "application/json-lines":
		return true
	}
	return false
}

// oneSource is the request of a call that streams nothing up: path, query and
// body, as of a unary call.
type oneSource struct {
	x    *exchange
	read bool
}

func (s *oneSource) next() (mem.BufferSlice, error) {
	if s.read || s.x.plan.binding.Method.ClientStreams && len(s.x.plan.binding.Variables) == 0 && s.x.r.URL.RawQuery == "" {
		return nil, io.EOF
	}
	s.read = true
	msg := rpc.NewMessage(s.x.plan.input)
	if err := s.x.Load(msg); err != nil {
		return nil, err
	}
	s.x.call.MessagesIn.Add(-1) // whoever receives it counts it
	bufs, err := msg.Buffers()
	if err != nil {
		return nil, err
	}
	return s.x.resumed(bufs)
}

func (s *oneSource) close() {}

// resumed adds the position that a reconnecting client names in Last-Event-ID
// (HTML, section 9.2.4), which wins over the one in the URL it started with.
func (x *exchange) resumed(bufs mem.BufferSlice) (mem.BufferSlice, error) {
	st := x.plan.stream
	id := header(x.r.Header, "Last-Event-Id")
	if id == "" || st.cursor == nil || st.cursorBound {
		return bufs, nil
	}
	extra, err := st.cursor.AppendRequest(nil, id)
	if err != nil {
		bufs.Free()
		field := pathOf(st.cursor.RequestField())
		return nil, violation(field, `header "Last-Event-ID": not a %s that field %q can have`,
			st.cursor.RequestField()[len(st.cursor.RequestField())-1].Kind(), field)
	}
	return append(bufs, mem.SliceBuffer(extra)), nil
}

// bodySource is a body of many messages. Each of them carries what the path
// and the query say.
type bodySource struct {
	x       *exchange
	counted *countedReader
	bounded *boundedReader
	r       io.Reader
	done    func()
	n       int64 // messages
}

// open prepares the body for its first read: path and query are read, and a
// compressed body gets its decompressor.
func (s *bodySource) open() error {
	x := s.x
	x.scratch = x.door.pool.getScratch()
	if err := x.bindPath(&x.scratch.tree); err != nil {
		return err
	}
	if err := x.readQuery(&x.scratch.tree); err != nil {
		return err
	}
	s.counted = &countedReader{r: x.r.Body}
	s.r = s.counted
	coding := header(x.r.Header, "Content-Encoding")
	if isIdentity(coding) {
		return nil
	}
	s.bounded = &boundedReader{src: s.counted, limit: math.MaxInt64}
	r, done, err := x.door.coders.reader(s.bounded, coding)
	if err != nil {
		return s.failure(err)
	}
	s.r, s.done = &inflationGuard{r: r, src: s.counted, ratio: x.door.opts.MaxInflation}, done
	return nil
}

// ready opens the body before the first message.
func (s *bodySource) ready() error {
	s.n++
	if s.n > 1 {
		return nil
	}
	return s.open()
}

func (s *bodySource) close() {
	if s.done != nil {
		s.done()
	}
	if s.counted != nil {
		s.x.call.BytesIn.Add(s.counted.n)
	}
	if s.x.scratch != nil {
		s.x.door.pool.putScratch(s.x.scratch)
		s.x.scratch = nil
	}
}

// message returns the request message whose body is body.
func (s *bodySource) message(body []byte, kind contentKind) (mem.BufferSlice, error) {
	x := s.x
	t := &x.scratch.tree
	wire := x.door.pool.get()
	var err error
	if *wire, err = x.appendBody(*wire, body, kind); err == nil {
		err = x.protectPath(t, *wire)
	}
	if err == nil {
		*wire = t.write(x.fillMask(*wire, body, kind, t), 0)
		err = x.plan.missing(*wire)
	}
	if err != nil {
		x.door.pool.Put(wire)
		return nil, s.numbered(err)
	}
	return mem.BufferSlice{mem.NewBuffer(wire, x.door.pool)}, nil
}

// numbered says which message of the body is wrong.
func (s *bodySource) numbered(err error) error {
	var e *rpc.Error
	if errors.As(err, &e) {
		e.Message = fmt.Sprintf("message %d: %s", s.n, e.Message)
	}
	return err
}

// failure says what is wrong with a body that could not be read on.
func (s *bodySource) failure(err error) error {
	bad := func(format string, args ...any) error {
		return s.numbered(rpc.Errorf(codes.InvalidArgument, "request body: "+format, args...).WithCause(err))
	}
	var known *rpc.Error
	switch {
	case errors.Is(err, errSplitLarge):
		return s.numbered(tooLargeMessage(s.x.plan.set.maxBody))
	case errors.Is(err, errInflation):
		return rpc.Errorf(codes.ResourceExhausted, "request body: it decompresses to more than %d times its size", s.x.door.opts.MaxInflation).
			WithHTTPStatus(http.StatusRequestEntityTooLarge)
	case isSplitError(err):
		return bad("%v", err)
	case errors.As(err, &known):
		return known
	case s.bounded != nil && s.bounded.err == nil:
		return bad("not valid %s", strings.ToLower(header(s.x.r.Header, "Content-Encoding")))
	case errors.Is(err, io.ErrUnexpectedEOF) && s.x.r.Context().Err() == nil:
		return bad("it ends inside a message")
	}
	return s.x.readError(err)
}

func isSplitError(err error) bool {
	for _, e := range []error{errSplitEnd, errSplitList, errSplitRest, errSplitOpen, errDelimiter, errDelimitedEnd} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func tooLargeMessage(limit int64) *rpc.Error {
	return rpc.Errorf(codes.ResourceExhausted, "request body: a message is larger than the limit of %d bytes", limit).
		WithHTTPStatus(http.StatusRequestEntityTooLarge)
}

func (s bodySource) text(list, lines bool) source {
	return &textSource{bodySource: s, split: splitter{pool: s.x.door.pool, limit: s.x.plan.set.maxBody, list: list, lines: lines}}
}

// textSource reads JSON values: one a line, one after the other, or in an array.
type textSource struct {
	bodySource
	split splitter
}

func (s *textSource) next() (mem.BufferSlice, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	if s.n == 1 {
		s.split.src = s.r
	}
	value, err := s.split.next()
	if errors.Is(err, io.EOF) {
		return nil, io.EOF
	}
	if err != nil {
		return nil, s.failure(err)
	}
	return s.message(value, contentJSON)
}

func (s *textSource) close() {
	s.split.close()
	s.bodySource.close()
}

// delimitedSource reads protobuf messages, each after its length as a varint.
type delimitedSource struct {
	bodySource
	br *bufio.Reader
}

var (
	errDelimiter    = errors.New("a length is not a varint")
	errDelimitedEnd = errors.New("it ends inside a message")
)

func (s *delimitedSource) next() (mem.BufferSlice, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	if s.n == 1 {
		s.br = bufio.NewReaderSize(s.r, minBuffer)
	}
	size, err := binary.ReadUvarint(s.br)
	switch {
	case err == io.EOF: //nolint:errorlint // exactly at a message's start
		return nil, io.EOF
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, s.failure(errDelimitedEnd)
	case err != nil && err.Error() == "binary: varint overflows a 64-bit integer":
		return nil, s.failure(errDelimiter)
	case err != nil:
		return nil, s.failure(err)
	case size > uint64(s.x.plan.set.maxBody):
		return nil, s.failure(errSplitLarge)
	}
	body := s.x.door.pool.get()
	defer s.x.door.pool.Put(body)
	var n int64
	*body, n, err = readTo(*body, io.LimitReader(s.br, int64(size)), int64(size))
	if err != nil {
		return nil, s.failure(err)
	}
	if n < int64(size) {
		return nil, s.failure(errDelimitedEnd)
	}
	return s.message(*body, contentProto)
}

// rawSource passes the bytes of google.api.HttpBody on as they come, in
// constant memory. The content type is said with the first of them.
type rawSource struct {
	bodySource
	ended bool
}

// rawPiece is how many bytes of a raw body one message carries at most.
const rawPiece = 64 << 10

func (s *rawSource) next() (mem.BufferSlice, error) {
	if s.ended {
		return nil, io.EOF
	}
	if err := s.ready(); err != nil {
		return nil, err
	}
	piece := s.x.door.pool.Get(rawPiece)
	defer s.x.door.pool.Put(piece)
	n, err := 0, error(nil)
	for n == 0 && err == nil {
		n, err = s.r.Read(*piece)
	}
	switch {
	case errors.Is(err, io.EOF):
		s.ended = true
		if n == 0 && s.n > 1 {
			return nil, io.EOF
		}
	case err != nil:
		return nil, s.failure(err)
	}
	return s.piece((*piece)[:n])
}

func (s *rawSource) piece(data []byte) (mem.BufferSlice, error) {
	x := s.x
	t := &x.scratch.tree
	if err := x.rivalOfBody(t); err != nil {
		return nil, err
	}
	wire := x.door.pool.get()
	*wire, _ = wrap(*wire, x.plan.body.fields, func(dst []byte) ([]byte, error) {
		if s.n == 1 {
			return x.appendHTTPBody(dst, data), nil
		}
		dst = protowire.AppendTag(dst, httpBodyData, protowire.BytesType)
		return protowire.AppendBytes(dst, data), nil
	})
	*wire = t.write(*wire, 0)
	return mem.BufferSlice{mem.NewBuffer(wire, x.door.pool)}, nil
}

package lean

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// reader reads frames until the connection ends.
func (c *conn) reader() {
	for {
		f, err := c.framer.ReadFrame()
		if err == nil {
			c.read.Add(1)
			err = c.frame(f)
		}
		var bad http2.StreamError
		switch {
		case err == nil:
		case errors.As(err, &bad):
			c.reset(bad.StreamID, bad.Code, status.New(codes.Internal, "http2: "+err.Error()))
		default:
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			c.fail(status.Error(codes.Unavailable, "error reading from server: "+err.Error()))
			return
		}
	}
}

func (c *conn) frame(f http2.Frame) error {
	if !c.settled {
		if s, ok := f.(*http2.SettingsFrame); !ok || s.IsAck() {
			return errors.New("http2: the server's first frame is not SETTINGS")
		}
	}
	switch f := f.(type) {
	case *http2.DataFrame:
		return c.data(f)
	case *http2.HeadersFrame:
		return c.headers(f)
	case *http2.RSTStreamFrame:
		c.wasReset(f)
	case *http2.SettingsFrame:
		return c.settings(f)
	case *http2.WindowUpdateFrame:
		return c.windowUpdate(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			c.mu.Lock()
			c.out = appendFrame(c.out, http2.FramePing, http2.FlagPingAck, 0, 8)
			c.out = append(c.out, f.Data[:]...)
			c.mu.Unlock()
			c.nudge()
		}
	case *http2.GoAwayFrame:
		c.goAway(f)
	case *http2.PushPromiseFrame, *http2.ContinuationFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return nil
}

func (c *conn) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	c.mu.Lock()
	defer c.nudge()
	defer c.mu.Unlock()
	err := f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return err
		}
		switch s.ID {
		case http2.SettingHeaderTableSize:
			c.henc.SetMaxDynamicTableSizeLimit(s.Val)
		case http2.SettingMaxConcurrentStreams:
			c.maxStreams = s.Val
		case http2.SettingMaxFrameSize:
			c.maxFrame = int(s.Val)
		case http2.SettingInitialWindowSize:
			more := int64(s.Val) - c.peerWindow
			c.peerWindow = int64(s.Val)
			for _, st := range c.streams {
				if st.window += more; st.window > math.MaxInt32 {
					return http2.ConnectionError(http2.ErrCodeFlowControl)
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !c.settled {
		c.settled = true
		if _, ok := f.Value(http2.SettingMaxConcurrentStreams); !ok {
			c.maxStreams = math.MaxInt32
		}
		close(c.ready)
	}
	c.out = appendFrame(c.out, http2.FrameSettings, http2.FlagSettingsAck, 0, 0)
	c.release()
	return nil
}

func (c *conn) windowUpdate(f *http2.WindowUpdateFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.StreamID == 0 {
		if c.window += int64(f.Increment); c.window > math.MaxInt32 {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
	} else if s := c.streams[f.StreamID]; s != nil {
		if s.window += int64(f.Increment); s.window > math.MaxInt32 {
			return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeFlowControl}
		}
	}
	c.release()
	return nil
}

// goAway lets the calls that the server has taken end, and gives the others
// back to their callers, who may make them again elsewhere.
func (c *conn) goAway(f *http2.GoAwayFrame) {
	c.closing.Store(true)
	var refused []*stream
	c.mu.Lock()
	for id, s := range c.streams {
		if id > f.LastStreamID {
			refused = append(refused, s)
			delete(c.streams, id)
		}
	}
	c.goneAway = true
	idle := len(c.streams) == 0
	c.release()
	c.mu.Unlock()
	for _, s := range refused {
		s.end(status.New(codes.Unavailable, "the connection is draining"), true)
	}
	if idle {
		c.fail(status.Error(codes.Unavailable, "the connection is draining"))
		return
	}
	c.endpoint.lost(c)
}

func (c *conn) find(id uint32) *stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.streams[id]
}

// remove forgets a stream, and the connection when it was the last of a
// connection that drains.
func (c *conn) remove(s *stream) {
	c.mu.Lock()
	if c.streams[s.id] != s {
		c.mu.Unlock()
		return
	}
	if !s.sent && c.err == nil { // answered before it was asked in full
		c.out = appendReset(c.out, s.id, http2.ErrCodeNo)
	}
	full := uint32(len(c.streams)) >= c.maxStreams
	delete(c.streams, s.id)
	if full {
		c.release()
	}
	last := c.goneAway && len(c.streams) == 0
	c.mu.Unlock()
	c.nudge()
	if last {
		c.fail(status.Error(codes.Unavailable, "the connection is draining"))
	}
}

// reset ends a stream from this side.
func (c *conn) reset(id uint32, code http2.ErrCode, st *status.Status) {
	s := c.find(id)
	if s == nil {
		return
	}
	s.end(st, false)
	s.abandon(code)
}

func (c *conn) wasReset(f *http2.RSTStreamFrame) {
	s := c.find(f.StreamID)
	if s == nil {
		return
	}
	code := codes.Internal
	switch f.ErrCode {
	case http2.ErrCodeCancel:
		code = codes.Canceled
	case http2.ErrCodeRefusedStream:
		code = codes.Unavailable
	case http2.ErrCodeEnhanceYourCalm:
		code = codes.ResourceExhausted
	case http2.ErrCodeInadequateSecurity:
		code = codes.PermissionDenied
	}
	c.mu.Lock()
	s.sent = true
	c.mu.Unlock()
	c.remove(s)
	s.end(status.Newf(code, "stream terminated by RST_STREAM with error code: %v", f.ErrCode), f.ErrCode == http2.ErrCodeRefusedStream)
}

func (c *conn) data(f *http2.DataFrame) error {
	n := int64(f.Length)
	if c.received += n; c.received >= connWindow/2 {
		c.mu.Lock()
		c.out = appendWindowUpdate(c.out, 0, uint32(c.received))
		c.mu.Unlock()
		c.received = 0
		c.nudge()
	}
	s := c.find(f.StreamID)
	if s == nil {
		return nil
	}
	if code, st := s.receive(f.Data(), n); st != nil {
		s.end(st, false)
		s.abandon(code)
		return nil
	}
	if f.StreamEnded() {
		c.remove(s)
		s.end(status.New(codes.Internal, "server closed the stream without sending trailers"), false)
	}
	return nil
}

// headerBlock is one header block while it is decoded.
type headerBlock struct {
	md                         metadata.MD
	http, grpc, message, ctype string
	details                    string
	size                       int
	bad                        string
}

func (h *headerBlock) add(f hpack.HeaderField) {
	if h.size += len(f.Name) + len(f.Value) + 32; h.size > maxHeaderBytes {
		h.bad = "malformed header: the header list is too large"
		return
	}
	switch f.Name {
	case ":status":
		h.http = f.Value
		return
	case "grpc-status":
		h.grpc = f.Value
		return
	case "grpc-message":
		h.message = f.Value
		return
	case "grpc-status-details-bin":
		h.details = f.Value
	case "content-type":
		h.ctype = f.Value
	case "grpc-encoding":
		if f.Value != "identity" && f.Value != "" {
			h.bad = fmt.Sprintf("grpc: Decompressor is not installed for grpc-encoding %q", f.Value)
		}
		return
	case "grpc-accept-encoding", "te":
		return
	}
	if f.Name == "" || f.Name[0] == ':' {
		return
	}
	value := f.Value
	if strings.HasSuffix(f.Name, "-bin") {
		b, err := decodeBinary(value)
		if err != nil {
			h.bad = fmt.Sprintf("malformed header: %s is not base64", f.Name)
			return
		}
		value = b
	}
	if h.md == nil {
		h.md = make(metadata.MD, 4)
	}
	h.md[f.Name] = append(h.md[f.Name], value)
}

func decodeBinary(v string) (string, error) {
	enc := base64.RawStdEncoding
	if len(v)%4 == 0 {
		enc = base64.StdEncoding
	}
	b, err := enc.DecodeString(v)
	return string(b), err
}

// headers decodes a header block, which may span frames, even for streams
// that have gone: the compression's state is the connection's.
func (c *conn) headers(f *http2.HeadersFrame) error {
	c.header = headerBlock{}
	id, ended, done := f.StreamID, f.StreamEnded(), f.HeadersEnded()
	fragment, total := f.HeaderBlockFragment(), 0
	for {
		if total += len(fragment); total > 4*maxHeaderBytes {
			return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
		}
		if _, err := c.hdec.Write(fragment); err != nil {
			return http2.ConnectionError(http2.ErrCodeCompression)
		}
		if done {
			break
		}
		next, err := c.framer.ReadFrame()
		if err != nil {
			return err
		}
		more, ok := next.(*http2.ContinuationFrame) // the framer has checked its stream
		if !ok {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		fragment, done = more.HeaderBlockFragment(), more.HeadersEnded()
	}
	if err := c.hdec.Close(); err != nil {
		return http2.ConnectionError(http2.ErrCodeCompression)
	}
	s := c.find(id)
	if s == nil {
		return nil
	}
	h := c.header
	if ended {
		c.remove(s)
		s.trailers(&h)
		return nil
	}
	if st := s.headers(&h); st != nil {
		s.end(st, false)
		s.abandon(http2.ErrCodeCancel)
	}
	return nil
}

// check returns what is wrong with a response's header, nil when it is gRPC's.
func (h *headerBlock) check() *status.Status {
	if h.bad != "" {
		return status.New(codes.Internal, h.bad)
	}
	if h.http != "200" {
		n, _ := strconv.Atoi(h.http)
		return status.Newf(codeOfHTTP(n), "unexpected HTTP status code received from server: %s (%s)", h.http, http.StatusText(n))
	}
	if !strings.HasPrefix(h.ctype, "application/grpc") {
		return status.Newf(codes.Unknown, "malformed header: received unexpected content-type %q", h.ctype)
	}
	return nil
}

// codeOfHTTP is http-grpc-status-mapping.md.
func codeOfHTTP(n int) codes.Code {
	switch n {
	case http.StatusBadRequest:
		return codes.Internal
	case http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusForbidden:
		return codes.PermissionDenied
	case http.StatusNotFound:
		return codes.Unimplemented
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return codes.Unavailable
	}
	return codes.Unknown
}

// status returns the call's status, as the trailers say.
func (h *headerBlock) status() *status.Status {
	if h.bad != "" {
		return status.New(codes.Internal, h.bad)
	}
	if h.grpc == "0" && h.details == "" {
		return nil
	}
	n, err := strconv.ParseUint(h.grpc, 10, 32)
	if err != nil {
		return status.Newf(codes.Unknown, "malformed header: grpc-status %q", h.grpc)
	}
	code, message := codes.Code(n), decodeMessage(h.message)
	if h.details == "" {
		return status.New(code, message)
	}
	details, err := decodeBinary(h.details)
	var st spb.Status
	if err != nil || proto.Unmarshal([]byte(details), &st) != nil || st.GetCode() != int32(code) { //nolint:gosec // codes are small
		return status.New(code, message)
	}
	return status.FromProto(&st)
}

// decodeMessage undoes the percent-encoding of grpc-message.
func decodeMessage(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	if text, err := url.PathUnescape(s); err == nil {
		return text
	}
	return s
}

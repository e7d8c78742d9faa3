package edge

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/transomhq/transom/edge/framing"
	"github.com/transomhq/transom/rpc"
)

// fromFraming returns the error of the house for a malformed request.
func fromFraming(e *framing.Error) *rpc.Error {
	code := codes.InvalidArgument
	switch e.Status {
	case http.StatusRequestURITooLong, http.StatusRequestHeaderFieldsTooLarge:
		code = codes.ResourceExhausted
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		code = codes.Unimplemented
	case http.StatusRequestTimeout:
		code = codes.DeadlineExceeded
	}
	return rpc.Errorf(code, "%s", e.Message).WithHTTPStatus(e.Status)
}

// refuse answers a request with an error of the edge's.
func (s *Server) refuse(x *exchange, r *http.Request, err *rpc.Error) {
	x.closeAfter()
	x.call.SetResult(err)
	if s.opts.Refuse != nil {
		s.opts.Refuse(x, r, x.call, err)
		return
	}
	h := x.Header()
	text := errorJSON(err)
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	for i := 0; i+1 < len(err.Header); i += 2 {
		h.Add(err.Header[i], err.Header[i+1])
	}
	x.WriteHeader(httpStatus(err))
	if r.Method != http.MethodHead {
		_, _ = x.Write(text)
	}
}

func httpStatus(err *rpc.Error) int {
	if err.HTTPStatus != 0 {
		return err.HTTPStatus
	}
	return http.StatusInternalServerError
}

// errorJSON is a google.rpc.Status without details. The texts of the edge need
// no escaping beyond what %q does for ASCII.
func errorJSON(err *rpc.Error) []byte {
	return fmt.Appendf(nil, `{"code":%d,"message":%s}`, err.Code, strconv.QuoteToASCII(err.Message))
}

// refuse answers a malformed request on the socket itself: it never became a
// request, and no other one is in progress. The call's record tells of it. It
// returns what ends the connection.
func (c *conn) refuse(e *framing.Error) error {
	err := fromFraming(e)
	call := rpc.NewCall(c.s.opts.Finish)
	call.Client, call.RequestID, call.TLS, call.Proto = c.peer, newRequestID(), c.tls, "HTTP/1.1"
	call.SetResult(err)
	call.Update(func(o *rpc.Outcome) { o.HTTPStatus = e.Status })
	defer call.Finish()

	text := errorJSON(err)
	_ = c.Conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = c.Write(fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"+
		requestIDField+": %s\r\nConnection: close\r\n\r\n%s", e.Status, http.StatusText(e.Status), len(text), call.RequestID, text))
	c.head.Store(0)
	c.guard.Fail(e)
	c.stash, c.ready = nil, 0
	c.inBody.Store(false)
	c.linger()
	return io.EOF
}

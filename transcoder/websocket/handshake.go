package websocket

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/transcoder/websocket/frame"
)

// The subprotocols.
const (
	protocolJSON  = "transom.v1+json"  // envelopes in JSON text
	protocolProto = "transom.v1+proto" // envelopes in protobuf
	protocolBare  = "transom.v1+bare"  // the same as none, for clients that must offer one
)

// Is reports whether r asks for a WebSocket: the upgrade of RFC 6455, section
// 4.2.1, or the extended CONNECT of RFC 8441.
func Is(r *http.Request) bool {
	if r.ProtoMajor == 2 {
		return isConnect(r)
	}
	return r.Method == http.MethodGet && r.ProtoAtLeast(1, 1) &&
		hasToken(r.Header["Upgrade"], "websocket") && hasToken(r.Header["Connection"], "upgrade")
}

func isConnect(r *http.Request) bool {
	p := r.Header[":protocol"]
	return r.Method == http.MethodConnect && len(p) == 1 && strings.EqualFold(p[0], "websocket")
}

func hasToken(values []string, token string) bool {
	for _, v := range values {
		for t := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}

// handshake is what a request for a socket has said.
type handshake struct {
	d           *Door
	w           http.ResponseWriter
	r           *http.Request
	call        *rpc.Call
	protocol    string // of ours; "" for none
	echo        string // the Sec-WebSocket-Protocol of the answer
	authFirst   bool   // the first message is a credential
	compression bool
	release     func() // gives the socket's place back
}

// greet checks a request for a socket, takes its credentials, and a place for
// it. r's header has them as an Authorization afterwards.
func (d *Door) greet(w http.ResponseWriter, r *http.Request, call *rpc.Call) (*handshake, *rpc.Error) {
	call.Door = "websocket"
	h := &handshake{d: d, w: w, r: r, call: call}
	if err := checkUpgrade(r); err != nil {
		return nil, err
	}
	if err := d.origins.check(r); err != nil {
		return nil, err
	}
	if err := h.negotiate(); err != nil {
		return nil, err
	}
	h.compression = d.opts.Compression && frame.AcceptsDeflate(r.Header["Sec-Websocket-Extensions"])
	var err *rpc.Error
	h.release, err = d.opts.Sockets.admit(call.Client)
	return h, err
}

// checkUpgrade checks what RFC 6455, section 4.2.1, asks of the request.
func checkUpgrade(r *http.Request) *rpc.Error {
	if v := r.Header["Sec-Websocket-Version"]; len(v) != 1 || v[0] != "13" {
		e := rpc.Errorf(codes.InvalidArgument, "Sec-WebSocket-Version must be 13").WithHTTPStatus(http.StatusUpgradeRequired)
		e.Header = []string{"Sec-Websocket-Version", "13", "Upgrade", "websocket", "Connection", "Upgrade"}
		return e
	}
	if r.ProtoMajor == 2 {
		return nil
	}
	if r.ContentLength != 0 {
		return rpc.Errorf(codes.InvalidArgument, "a request for a WebSocket has no body")
	}
	keys := r.Header["Sec-Websocket-Key"]
	if len(keys) != 1 {
		return rpc.Errorf(codes.InvalidArgument, "Sec-WebSocket-Key must be there once")
	}
	if b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(keys[0])); err != nil || len(b) != 16 {
		return rpc.Errorf(codes.InvalidArgument, "Sec-WebSocket-Key must be 16 bytes in base64")
	}
	return nil
}

// upgrade answers the handshake with success, and takes the connection over.
// lean reads through a small buffer of its own, for those who let net/http's go.
func (h *handshake) upgrade(lean bool) (transport, *bufio.Reader, *rpc.Error) {
	head := h.w.Header()
	if h.echo != "" {
		head["Sec-Websocket-Protocol"] = []string{h.echo}
	}
	if h.compression {
		head["Sec-Websocket-Extensions"] = []string{frame.Deflated}
	}
	if h.r.ProtoMajor == 2 {
		return h.upgradeHTTP2()
	}
	hj, ok := h.hijacker()
	if !ok {
		return nil, nil, rpc.Errorf(codes.Internal, "this connection cannot become a WebSocket")
	}
	head["Upgrade"], head["Connection"] = []string{"websocket"}, []string{"Upgrade"}
	head["Sec-Websocket-Accept"] = []string{frame.Accept(strings.TrimSpace(h.r.Header.Get("Sec-Websocket-Key")))}
	h.w.WriteHeader(http.StatusSwitchingProtocols)
	h.call.Update(func(o *rpc.Outcome) { o.HTTPStatus = http.StatusSwitchingProtocols })
	conn, rw, err := hj.Hijack()
	if err != nil {
		return nil, nil, rpc.Errorf(codes.Internal, "internal error").WithCause(err)
	}
	_ = conn.SetDeadline(time.Time{}) // of the HTTP server's; a dead connection shows when it is read
	// What came early is in the server's buffer, whose own source must not be
	// read from any more.
	early, _ := rw.Reader.Peek(rw.Reader.Buffered())
	src := io.Reader(conn)
	if len(early) > 0 {
		src = io.MultiReader(bytes.NewReader(bytes.Clone(early)), conn)
	}
	if lean {
		return conn, bufio.NewReaderSize(src, 1<<10), nil
	}
	rw.Reader.Reset(src)
	return conn, rw.Reader, nil
}

func (h *handshake) hijacker() (http.Hijacker, bool) {
	for w := h.w; ; {
		if hj, ok := w.(http.Hijacker); ok {
			return hj, true
		}
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return nil, false
		}
		w = u.Unwrap()
	}
}

// upgradeHTTP2 answers an extended CONNECT: the stream is the connection (RFC
// 8441, section 5).
func (h *handshake) upgradeHTTP2() (transport, *bufio.Reader, *rpc.Error) {
	c := &streamConn{ReadCloser: h.r.Body, w: h.w, rc: http.NewResponseController(h.w)}
	_ = c.SetDeadline(time.Time{}) // a slow stream is welcome; some writers have no deadlines
	h.w.WriteHeader(http.StatusOK)
	h.call.Update(func(o *rpc.Outcome) { o.HTTPStatus = http.StatusOK })
	if err := c.rc.Flush(); err != nil {
		return nil, nil, rpc.Errorf(codes.Canceled, "the client went away").WithCause(err)
	}
	return c, bufio.NewReaderSize(h.r.Body, 2048), nil
}

// streamConn is an HTTP/2 stream as a connection.
type streamConn struct {
	io.ReadCloser
	w  http.ResponseWriter
	rc *http.ResponseController
}

func (c *streamConn) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	if err == nil {
		err = c.rc.Flush()
	}
	return n, err
}

func (c *streamConn) SetDeadline(t time.Time) error {
	if err := c.rc.SetReadDeadline(t); err != nil {
		return err
	}
	return c.rc.SetWriteDeadline(t)
}

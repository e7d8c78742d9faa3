package websocket

import (
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/transomhq/transom/transcoder/websocket/frame"
)

// bareDialect is a socket without a subprotocol: a message a frame. An empty
// text frame is the half-close; a failure is {"error": ...} before the close
// frame. Messages that are google.api.HttpBody are the bytes of frames, whole.
type bareDialect struct {
	proxy         bool // {"result": ...}, as grpc-websocket-proxy has it
	rawIn, rawOut bool
	status        func(dst []byte, st *status.Status) []byte
}

func (d *bareDialect) parse(text bool, p []byte, e *event) error {
	e.body = p
	switch {
	case d.rawIn:
		e.kind, e.contentType = Raw, "application/octet-stream"
		if text {
			e.contentType = "text/plain; charset=utf-8"
		}
	case !text && !d.proxy:
		return &frame.Error{Code: frame.CodeUnsupported, Reason: "messages are JSON, in text frames"}
	case len(p) == 0:
		e.body, e.halfClose = nil, true
	default:
		e.kind = JSON
	}
	return nil
}

func (d *bareDialect) header([]byte, uint64, metadata.MD) (bool, []byte) { return false, nil }

func (d *bareDialect) message(dst []byte, _ uint64, shape Shape, wire []byte) (bool, []byte, error) {
	if d.rawOut {
		dst, contentType, err := shape.AppendResponse(dst, wire, Raw)
		return isText(contentType) && utf8.Valid(dst), dst, err
	}
	if !d.proxy {
		dst, _, err := shape.AppendResponse(dst, wire, JSON)
		return true, dst, err
	}
	dst, _, err := shape.AppendResponse(append(dst, `{"result":`...), wire, JSON)
	return true, append(dst, '}'), err
}

// isText reports whether content of a type goes in text frames.
func isText(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	return strings.HasPrefix(media, "text/") || media == "application/json" || strings.HasSuffix(media, "+json")
}

func (d *bareDialect) final(dst []byte, _ uint64, st *status.Status, _ metadata.MD) (bool, []byte) {
	if st.Code() == codes.OK || d.rawOut { // in a raw socket, the close frame says all
		return true, nil
	}
	return true, append(d.status(append(dst, `{"error":`...), st), '}')
}

func (d *bareDialect) note([]byte, uint64, note) (bool, []byte) { return false, nil }

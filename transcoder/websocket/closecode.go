package websocket

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/transomhq/transom/transcoder/websocket/frame"
)

// closeCode maps a gRPC code to a close code: OK is a normal closure, every
// other one 4000 and its number, in the range for private use (RFC 6455,
// section 7.4.2). A number beyond the range is UNKNOWN's.
func closeCode(c codes.Code) int {
	switch {
	case c == codes.OK:
		return frame.CodeNormal
	case c > 999:
		return 4000 + int(codes.Unknown)
	}
	return 4000 + int(c)
}

// ending is how a socket is closed.
type ending struct {
	code   int
	reason string
}

func endingOf(st *status.Status) ending { return ending{closeCode(st.Code()), st.Message()} }

package websocket

import (
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// dialect is what frames say. Each appending method says whether the frame is
// text; nil is no frame. id is 0 on a socket of one call.
type dialect interface {
	// parse reads a client's frame into e, which is empty and may keep parts of p
	// until the next one. Errors are *frame.Error, and end the socket.
	parse(text bool, p []byte, e *event) error
	header(dst []byte, id uint64, md metadata.MD) (bool, []byte)
	message(dst []byte, id uint64, shape Shape, wire []byte) (bool, []byte, error)
	final(dst []byte, id uint64, st *status.Status, trailer metadata.MD) (bool, []byte)
	note(dst []byte, id uint64, n note) (bool, []byte)
}

// event is what a client's frame says: what is set, in this order.
type event struct {
	id          uint64
	token       string // a credential
	auth        bool
	start       *start
	body        []byte
	kind        Body // NoBody: no message
	contentType string
	halfClose   bool
	cancel      bool
	ack         int
	ping        []byte
	pinged      bool
}

// start begins a call on a socket of many.
type start struct {
	method  string
	header  http.Header
	timeout time.Duration
	credits *int
}

// note is what the gateway itself says.
type note struct {
	ack     int // as many more messages are welcome
	pong    []byte
	isPong  bool
	goAway  time.Duration // the socket ends; come back after this
	renewed bool          // the credential was taken
}

// methodName returns the full name of a method that a client spells with or
// without its leading slash.
func methodName(s string) string {
	if strings.HasPrefix(s, "/") {
		return s
	}
	return "/" + s
}

// visible calls f for the metadata that a client may see.
func visible(md metadata.MD, f func(key string, values []string)) {
	for key, values := range md {
		if key == "" || key[0] == ':' || key == "content-type" || strings.HasPrefix(key, "grpc-") || len(values) == 0 {
			continue
		}
		if strings.HasSuffix(key, "-bin") {
			coded := make([]string, len(values))
			for i, v := range values {
				coded[i] = base64.StdEncoding.EncodeToString([]byte(v))
			}
			values = coded
		}
		f(key, values)
	}
}

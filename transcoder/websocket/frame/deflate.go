package frame

import (
	"bytes"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/flate"
)

// Deflated is the Sec-WebSocket-Extensions with which a server accepts an
// offer: no context is kept from message to message (RFC 7692, section 7.1.1),
// so that an idle socket costs nothing.
const Deflated = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// AcceptsDeflate reports whether one of the offers in the values of
// Sec-WebSocket-Extensions can be accepted with Deflated. An offer that asks
// for a smaller window of the server's cannot.
func AcceptsDeflate(values []string) bool {
	for offer := range strings.SplitSeq(strings.Join(values, ","), ",") {
		parts := strings.Split(offer, ";")
		if !strings.EqualFold(strings.TrimSpace(parts[0]), "permessage-deflate") {
			continue
		}
		if fitting(parts[1:]) {
			return true
		}
	}
	return false
}

func fitting(params []string) bool {
	seen := map[string]bool{}
	for _, p := range params {
		name, value, has := strings.Cut(strings.TrimSpace(p), "=")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.Trim(strings.TrimSpace(value), `"`)
		if seen[name] {
			return false
		}
		seen[name] = true
		switch name {
		case "server_no_context_takeover", "client_no_context_takeover":
			if has {
				return false
			}
		case "client_max_window_bits":
			if has && !window(value) {
				return false
			}
		case "server_max_window_bits":
			if value != "15" {
				return false
			}
		default:
			return false
		}
	}
	return true
}

func window(value string) bool {
	n, err := strconv.Atoi(value)
	return err == nil && n >= 8 && n <= 15
}

// tail ends the last block of a message, which the sender has cut off (RFC
// 7692, section 7.2.2), and then the stream.
const tail = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"

// inflate returns the message that p is, of at most limit bytes.
func inflate(p []byte, limit int) ([]byte, error) {
	r := flate.NewReader(io.MultiReader(bytes.NewReader(p), strings.NewReader(tail)))
	out, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	switch {
	case err != nil:
		return nil, &Error{CodeInvalidData, "a compressed message does not inflate"}
	case len(out) > limit:
		return nil, tooBig()
	}
	return out, nil
}

// Deflate appends p, compressed, to dst.
func Deflate(dst, p []byte) ([]byte, error) {
	out := bytes.NewBuffer(dst)
	// Stateless: the compressor's memory is given back at once.
	if err := flate.StatelessDeflate(out, p, false, nil); err != nil {
		return dst, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte(tail[:4])), nil
}

package grpcweb

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"

	"google.golang.org/grpc/codes"

	"github.com/transomhq/transom/rpc"
)

// textReader decodes the base64 body of a grpc-web-text request. Clients
// encode piece by piece, so padding may stand inside the body, too.
type textReader struct {
	src  io.Reader
	text []byte // not yet decoded; less than a quantum of 4 between reads
	out  []byte // decoded, not yet read
	err  error
	buf  [4 << 10]byte
}

// Read implements io.Reader.
func (t *textReader) Read(p []byte) (int, error) {
	for len(t.out) == 0 {
		if t.err != nil {
			return 0, t.err
		}
		n, err := t.src.Read(t.buf[len(t.text):])
		t.text = t.buf[:len(t.text)+n]
		t.err = err
		if err := t.decode(errors.Is(err, io.EOF)); err != nil {
			t.err = err
		}
	}
	n := copy(p, t.out)
	t.out = t.out[n:]
	return n, nil
}

// decode turns the whole quanta of text into out; last says that no more text comes.
func (t *textReader) decode(last bool) error {
	whole := len(t.text) / 4 * 4
	out := make([]byte, 0, base64.StdEncoding.DecodedLen(whole)+3)
	rest := t.text[whole:]
	for text := t.text[:whole]; len(text) > 0; {
		end := len(text)
		if i := bytes.IndexByte(text, '='); i >= 0 {
			end = i/4*4 + 4
		}
		var err error
		if out, err = base64.StdEncoding.AppendDecode(out, text[:end]); err != nil {
			return badText(err)
		}
		text = text[end:]
	}
	if last && len(rest) > 0 { // the padding at the very end may be missing
		var err error
		if out, err = base64.RawStdEncoding.AppendDecode(out, rest); err != nil {
			return badText(err)
		}
		rest = nil
	}
	t.out = out
	t.text = t.buf[:copy(t.buf[:], rest)]
	return nil
}

func badText(cause error) error {
	return rpc.Errorf(codes.Internal, "the request body is not base64, as grpc-web-text needs").WithCause(cause)
}

// textWriter encodes a response in base64. Each flush ends in padding, so
// that what was flushed can be decoded.
type textWriter struct {
	dst  io.Writer
	held [3]byte // bytes that do not fill a quantum yet
	n    int
	buf  []byte
}

// Write implements io.Writer.
func (t *textWriter) Write(p []byte) (int, error) {
	written := len(p)
	t.buf = t.buf[:0]
	if t.n > 0 {
		k := copy(t.held[t.n:], p)
		t.n, p = t.n+k, p[k:]
		if t.n < 3 {
			return written, nil
		}
		t.buf = base64.StdEncoding.AppendEncode(t.buf, t.held[:])
		t.n = 0
	}
	whole := len(p) / 3 * 3
	t.buf = base64.StdEncoding.AppendEncode(t.buf, p[:whole])
	t.n = copy(t.held[:], p[whole:])
	if _, err := t.dst.Write(t.buf); err != nil {
		return 0, err
	}
	return written, nil
}

// pad writes what is held, with padding.
func (t *textWriter) pad() error {
	if t.n == 0 {
		return nil
	}
	t.buf = base64.StdEncoding.AppendEncode(t.buf[:0], t.held[:t.n])
	t.n = 0
	_, err := t.dst.Write(t.buf)
	return err
}

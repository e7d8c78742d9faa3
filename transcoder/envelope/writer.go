package envelope

import (
	"encoding/binary"
	"io"
	"math"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"

	"github.com/transomhq/transom/rpc"
)

// Writer writes envelopes to an HTTP response. It does not flush. It is for
// one goroutine at a time.
type Writer struct {
	// Dst is the response's body.
	Dst io.Writer
	// Gzip compresses payloads that are not empty; nil sends them as they are.
	Gzip *Gzip
	// GzipMin is the size in bytes from which Gzip is worth it.
	GzipMin int

	hdr [HeaderLen]byte
}

// Write writes payload, which stays the caller's, and returns the number of
// bytes written.
func (w *Writer) Write(flags byte, payload mem.BufferSlice) (int, error) {
	if n := payload.Len(); w.Gzip != nil && n > 0 && n >= w.GzipMin {
		deflated, err := w.Gzip.Deflate(payload)
		if err != nil {
			return 0, err
		}
		defer deflated.Free()
		payload, flags = deflated, flags|FlagCompressed
	}
	length := payload.Len()
	if length > math.MaxUint32 {
		return 0, rpc.Errorf(codes.ResourceExhausted, "grpc: message too large (%d bytes)", length)
	}
	w.hdr[0] = flags
	binary.BigEndian.PutUint32(w.hdr[1:], uint32(length))
	written, err := w.Dst.Write(w.hdr[:])
	for _, b := range payload {
		if err != nil {
			break
		}
		var n int
		n, err = w.Dst.Write(b.ReadOnlyData())
		written += n
	}
	return written, err
}

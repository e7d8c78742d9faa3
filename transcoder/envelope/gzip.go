package envelope

import (
	"io"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"

	"github.com/transomhq/transom/rpc"
)

// The encodings that the doors know, by their names in headers.
const (
	Identity  = "identity"
	GzipName  = "gzip"
	Encodings = "identity,gzip" // for grpc-accept-encoding
)

// Gzip compresses and inflates payloads with pooled state. Its zero value is
// ready for use, and safe for concurrent use. One belongs to each door.
type Gzip struct {
	readers, writers sync.Pool
}

// Inflate returns in decompressed. The result is the caller's to Free, in
// stays the caller's. More than maxSize bytes is RESOURCE_EXHAUSTED and is never
// held; bytes that are not gzip are an error with code malformed.
func (g *Gzip) Inflate(in mem.BufferSlice, maxSize int, malformed codes.Code) (mem.BufferSlice, error) {
	src := in.Reader()
	defer func() { _ = src.Close() }()
	z, _ := g.readers.Get().(*gzip.Reader)
	if z == nil {
		z = new(gzip.Reader)
	}
	defer g.readers.Put(z)
	if err := z.Reset(src); err != nil {
		return nil, corrupt(malformed, err)
	}
	out, err := readAll(z, maxSize)
	if err != nil {
		return nil, corrupt(malformed, err)
	}
	if out.Len() > maxSize {
		out.Free()
		return nil, rpc.Errorf(codes.ResourceExhausted, "grpc: received message after decompression larger than max %d", maxSize)
	}
	return out, nil
}

// Deflate returns in compressed. The result is the caller's to Free.
func (g *Gzip) Deflate(in mem.BufferSlice) (mem.BufferSlice, error) {
	var out mem.BufferSlice
	dst := mem.NewWriter(&out, mem.DefaultBufferPool())
	z, _ := g.writers.Get().(*gzip.Writer)
	if z == nil {
		z, _ = gzip.NewWriterLevel(dst, gzip.BestSpeed) // errs on an unknown level only
	} else {
		z.Reset(dst)
	}
	defer g.writers.Put(z)
	for _, b := range in {
		if _, err := z.Write(b.ReadOnlyData()); err != nil {
			out.Free()
			return nil, rpc.Errorf(codes.Internal, "the response could not be compressed").WithCause(err)
		}
	}
	if err := z.Close(); err != nil {
		out.Free()
		return nil, rpc.Errorf(codes.Internal, "the response could not be compressed").WithCause(err)
	}
	return out, nil
}

// ReadBody reads a body that is one message without an envelope. The result is
// the caller's to Free. More than maxSize bytes is RESOURCE_EXHAUSTED; any other
// error is src's own.
func ReadBody(src io.Reader, maxSize int) (mem.BufferSlice, error) {
	out, err := readAll(src, maxSize)
	if err == nil && out.Len() > maxSize {
		out.Free()
		return nil, rpc.Errorf(codes.ResourceExhausted, "the message is larger than %d bytes", maxSize)
	}
	return out, err
}

// readAll reads src to its end, but not further than one byte beyond maxSize.
func readAll(src io.Reader, maxSize int) (mem.BufferSlice, error) {
	pool := mem.DefaultBufferPool()
	var out mem.BufferSlice
	var err error
	for size, total := readSize, 0; total <= maxSize && err == nil; size = pieceSize {
		b := pool.Get(min(size, maxSize-total+1))
		n := 0
		for n < len(*b) && err == nil {
			var got int
			got, err = src.Read((*b)[n:])
			n += got
		}
		total += n
		if n == 0 {
			pool.Put(b)
			continue
		}
		*b = (*b)[:n]
		out = append(out, mem.NewBuffer(b, pool))
	}
	if err != nil && err != io.EOF {
		out.Free()
		return nil, err
	}
	return out, nil
}

func corrupt(code codes.Code, cause error) error {
	return rpc.Errorf(code, "grpc: failed to decompress the received message: not valid gzip").WithCause(cause)
}

// AcceptsGzip reports whether a list of encodings, as in grpc-accept-encoding
// or Accept-Encoding, allows gzip. A quality of 0 refuses (RFC 9110, section 12.5.3).
func AcceptsGzip(list string) bool {
	for list != "" {
		var item string
		item, list, _ = strings.Cut(list, ",")
		name, params, _ := strings.Cut(item, ";")
		if strings.EqualFold(strings.TrimSpace(name), GzipName) {
			q, found := strings.CutPrefix(strings.TrimSpace(params), "q=")
			return !found || strings.Trim(q, "0.") != ""
		}
	}
	return false
}

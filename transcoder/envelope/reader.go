package envelope

import (
	"encoding/binary"
	"errors"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"

	"github.com/transomhq/transom/rpc"
)

// HeaderLen is the length of an envelope's header in bytes.
const HeaderLen = 5

// The flags of an envelope.
const (
	FlagCompressed = 0x01 // every protocol: the payload is compressed
	FlagEndStream  = 0x02 // Connect: the payload is the end-of-stream JSON
	FlagTrailer    = 0x80 // gRPC-Web: the payload is the trailers
)

const (
	readSize  = 4 << 10  // what is read ahead of the message being read
	smallSize = 1 << 10  // payloads up to this are copied out to their exact size
	pieceSize = 32 << 10 // larger payloads arrive in pieces of at most this
)

// Reader reads envelopes from an HTTP body. Memory grows with what has
// arrived, never with what a header claims. It is for one goroutine at a time.
type Reader struct {
	// Src is the body.
	Src io.Reader
	// Max is the largest payload in bytes, before and after decompression.
	Max int
	// Gzip inflates compressed payloads; nil where the call announced no encoding.
	Gzip *Gzip
	// Malformed is the code for bytes that are not envelopes: INTERNAL in
	// gRPC, INVALID_ARGUMENT in Connect.
	Malformed codes.Code

	buf  *[]byte // read ahead, from the pool
	r, w int     // buf[r:w] is unread
	err  error   // what Src said with its last bytes
	read int64   // bytes taken from Src
	hdr  [HeaderLen]byte
}

// Next returns the flags and the payload, inflated if it was compressed, of
// the next envelope. The payload is the caller's to Free. At the end of the
// body it returns io.EOF; a body that ends inside an envelope, one larger than
// Max, or one that does not inflate is an *rpc.Error. Any other error is Src's own.
func (r *Reader) Next() (flags byte, payload mem.BufferSlice, err error) {
	if err := r.readHeader(); err != nil {
		return 0, nil, err
	}
	flags = r.hdr[0]
	length := binary.BigEndian.Uint32(r.hdr[1:])
	if int64(length) > int64(r.Max) {
		return 0, nil, rpc.Errorf(codes.ResourceExhausted, "grpc: received message larger than max (%d vs. %d)", length, r.Max)
	}
	if flags&FlagCompressed != 0 && r.Gzip == nil {
		return 0, nil, rpc.Errorf(codes.Internal, "grpc: compressed flag set with identity or empty encoding")
	}
	payload, err = r.readPayload(int(length))
	if err != nil || flags&FlagCompressed == 0 || length == 0 {
		return flags &^ FlagCompressed, payload, err
	}
	defer payload.Free()
	inflated, err := r.Gzip.Inflate(payload, r.Max, r.Malformed)
	return flags &^ FlagCompressed, inflated, err
}

// Close gives the reader's memory back. The reader must not be used afterwards.
func (r *Reader) Close() {
	if r.buf != nil {
		mem.DefaultBufferPool().Put(r.buf)
		r.buf, r.r, r.w = nil, 0, 0
	}
}

// BytesRead returns how many bytes Src gave so far.
func (r *Reader) BytesRead() int64 { return r.read }

// readHeader fills hdr; io.EOF says that the body ended before its first byte.
func (r *Reader) readHeader() error {
	got := 0
	for {
		got += r.take(r.hdr[got:])
		if got == HeaderLen {
			return nil
		}
		if err := r.fill(); err != nil {
			if errors.Is(err, io.EOF) && got > 0 {
				return r.truncated()
			}
			return err
		}
	}
}

func (r *Reader) readPayload(n int) (mem.BufferSlice, error) {
	if n == 0 {
		return nil, nil
	}
	if n <= smallSize {
		b := make([]byte, n)
		if err := r.readFull(b); err != nil {
			return nil, err
		}
		return mem.BufferSlice{mem.SliceBuffer(b)}, nil
	}
	pool := mem.DefaultBufferPool()
	bufs := make(mem.BufferSlice, 0, 1) // not sized by n: that much may never come
	for n > 0 {
		b := pool.Get(min(n, pieceSize))
		if err := r.readFull(*b); err != nil {
			pool.Put(b)
			bufs.Free()
			return nil, err
		}
		n -= len(*b)
		bufs = append(bufs, mem.NewBuffer(b, pool))
	}
	return bufs, nil
}

// readFull fills p, first from what was read ahead, then from Src directly.
func (r *Reader) readFull(p []byte) error {
	p = p[r.take(p):]
	for len(p) > 0 {
		if len(p) < readSize {
			if err := r.fill(); err != nil {
				return r.inside(err)
			}
			p = p[r.take(p):]
			continue
		}
		if r.err != nil {
			return r.inside(r.err)
		}
		var n int
		n, r.err = r.Src.Read(p)
		r.read += int64(n)
		p = p[n:]
	}
	return nil
}

// take copies unread bytes to p.
func (r *Reader) take(p []byte) int {
	if r.r == r.w {
		return 0
	}
	n := copy(p, (*r.buf)[r.r:r.w])
	r.r += n
	return n
}

// fill reads once into the empty buffer.
func (r *Reader) fill() error {
	if r.buf == nil {
		r.buf = mem.DefaultBufferPool().Get(readSize)
	}
	r.r, r.w = 0, 0
	for r.w == 0 {
		if r.err != nil {
			return r.err
		}
		r.w, r.err = r.Src.Read(*r.buf)
		r.read += int64(r.w)
	}
	return nil
}

// inside turns the end of the body inside an envelope into an error.
func (r *Reader) inside(err error) error {
	if errors.Is(err, io.EOF) {
		return r.truncated()
	}
	return err
}

func (r *Reader) truncated() error {
	return rpc.Errorf(r.Malformed, "the request body ends inside a message").WithCause(io.ErrUnexpectedEOF)
}

package rest

import (
	"compress/gzip"
	"sync"

	kgzip "github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/grpc/mem"
)

// bufferPool keeps buffers and scratch memory between calls. It is a
// mem.BufferPool, so that the wire bytes of a request come back when gRPC has
// let go of them, which may be after the call.
type bufferPool struct {
	buffers sync.Pool
	scratch sync.Pool
}

const (
	minBuffer = 4 << 10 // more than what gRPC would not pool
	maxBuffer = 1 << 20 // larger ones are left to the garbage collector
	maxArena  = 64 << 10
)

var _ mem.BufferPool = (*bufferPool)(nil)

func newBufferPool() *bufferPool {
	return &bufferPool{
		buffers: sync.Pool{New: func() any { b := make([]byte, 0, minBuffer); return &b }},
		scratch: sync.Pool{New: func() any { return &scratch{} }},
	}
}

// get returns an empty buffer.
func (p *bufferPool) get() *[]byte {
	b := p.buffers.Get().(*[]byte)
	*b = (*b)[:0]
	return b
}

// Get returns a buffer of a length.
func (p *bufferPool) Get(length int) *[]byte {
	b := p.get()
	if cap(*b) < length {
		*b = make([]byte, length)
	}
	*b = (*b)[:length]
	return b
}

// Put takes a buffer back.
func (p *bufferPool) Put(b *[]byte) {
	if c := cap(*b); c >= minBuffer && c <= maxBuffer {
		p.buffers.Put(b)
	}
}

func (p *bufferPool) getScratch() *scratch {
	s := p.scratch.Get().(*scratch)
	s.tree.reset()
	return s
}

func (p *bufferPool) putScratch(s *scratch) {
	clear(s.path[:cap(s.path)])
	clear(s.elements[:cap(s.elements)])
	if cap(s.tree.arena) <= maxArena && cap(s.tree.nodes) <= 1024 && len(s.tree.keys) <= 1024 {
		p.scratch.Put(s)
	}
}

// coders keeps compressors and decompressors between calls.
type coders struct {
	gzipReaders, zstdReaders, gzipWriters sync.Pool
}

func newCoders() *coders {
	return &coders{
		gzipReaders: sync.Pool{New: func() any { return new(kgzip.Reader) }},
		zstdReaders: sync.Pool{New: func() any {
			d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(8<<20))
			if err != nil {
				return err
			}
			return d
		}},
		gzipWriters: sync.Pool{New: func() any {
			w, err := kgzip.NewWriterLevel(nil, gzip.DefaultCompression)
			if err != nil {
				return err
			}
			return w
		}},
	}
}

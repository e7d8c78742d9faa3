package lean

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

const (
	streamWindow   = 256 << 10 // what a backend may send ahead on one stream
	connWindow     = 16 << 20  // and on one connection
	initialWindow  = 65535     // RFC 9113, section 6.9.2
	maxHeaderBytes = 64 << 10  // of one header block from a backend
	patience       = 5 * time.Millisecond
	pingTimeout    = 10 * time.Second
)

// conn is one HTTP/2 connection. Frames are appended to out under mu; whoever
// finds nobody writing writes, for all. The reader, which must never wait for
// the network to take something, leaves that to the writer goroutine.
type conn struct {
	endpoint          *endpoint
	nc                net.Conn
	scheme, authority string
	peer              peer.Peer
	secure            bool
	kick              chan struct{} // wakes the writer goroutine
	dead              chan struct{} // closed by fail
	ready             chan struct{} // closed by the server's first settings
	closing           atomic.Bool   // takes no new streams
	read              atomic.Int64  // frames read, for keepalive

	mu         sync.Mutex
	err        error // why the connection is dead
	streams    map[uint32]*stream
	nextID     uint32
	out, spare []byte
	writing    bool // somebody writes
	handed     bool // and it is the writer goroutine
	henc       *hpack.Encoder
	hbuf       headerBuffer
	window     int64 // what may be sent on the connection
	peerWindow int64 // initial window of streams
	maxFrame   int
	maxStreams uint32
	goneAway   bool
	room       chan struct{} // closed and made anew when windows or streams open; nil: nobody waits
	settled    bool

	// Of the reader alone.
	framer   *http2.Framer
	hdec     *hpack.Decoder
	received int64 // bytes not yet given back to the connection's window
	header   headerBlock
}

type headerBuffer struct{ b []byte }

func (h *headerBuffer) Write(p []byte) (int, error) { h.b = append(h.b, p...); return len(p), nil }

func newConn(e *endpoint, nc net.Conn, scheme, authority string) *conn {
	c := &conn{
		endpoint: e, nc: nc, scheme: scheme, authority: authority, secure: scheme == "https",
		kick: make(chan struct{}, 1), dead: make(chan struct{}), ready: make(chan struct{}),
		streams: map[uint32]*stream{}, nextID: 1, window: initialWindow, peerWindow: initialWindow,
		maxFrame: 16 << 10, maxStreams: 100,
	}
	c.peer.Addr, c.peer.LocalAddr = nc.RemoteAddr(), nc.LocalAddr()
	if t, ok := nc.(*tls.Conn); ok {
		c.peer.AuthInfo = credentials.TLSInfo{State: t.ConnectionState(), CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}
	}
	c.henc = hpack.NewEncoder(&c.hbuf)
	c.hdec = hpack.NewDecoder(4096, c.header.add)
	c.hdec.SetMaxStringLength(maxHeaderBytes)
	c.framer = http2.NewFramer(nil, bufio.NewReaderSize(nc, 32<<10))
	c.framer.SetReuseFrames()
	c.framer.SetMaxReadFrameSize(16 << 10)
	return c
}

// open reports whether the connection takes calls.
func (c *conn) open() bool { return !c.closing.Load() }

// start sends the preface and waits for the server's.
func (c *conn) start(ctx context.Context) error {
	c.mu.Lock()
	c.out = append(c.out, http2.ClientPreface...)
	c.out = appendFrame(c.out, http2.FrameSettings, 0, 0, 18)
	c.out = appendSetting(c.out, http2.SettingEnablePush, 0)
	c.out = appendSetting(c.out, http2.SettingInitialWindowSize, streamWindow)
	c.out = appendSetting(c.out, http2.SettingMaxHeaderListSize, maxHeaderBytes)
	c.out = appendWindowUpdate(c.out, 0, connWindow-initialWindow)
	c.writing = true
	c.hand()
	c.mu.Unlock()
	wg := &c.endpoint.pool.wg
	wg.Go(c.writer)
	wg.Go(c.reader)
	if c.endpoint.pool.opts.Keepalive > 0 {
		wg.Go(c.keepalive)
	}
	select {
	case <-c.ready:
		return nil
	case <-c.dead:
		return c.failure()
	case <-ctx.Done():
		return errors.New("the server sent no HTTP/2 settings in time")
	}
}

func (c *conn) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// fail ends the connection and every call on it.
func (c *conn) fail(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.closing.Store(true)
	c.err = err
	streams := c.streams
	c.streams = nil
	close(c.dead)
	c.release()
	c.mu.Unlock()
	_ = c.nc.Close()
	for _, s := range streams {
		s.end(status.Convert(err), false)
	}
	c.endpoint.lost(c)
}

// release wakes those who wait for room. The caller holds mu.
func (c *conn) release() {
	if c.room != nil {
		close(c.room)
		c.room = nil
	}
}

// waiting returns what is closed when there may be room. The caller holds mu.
func (c *conn) waiting() <-chan struct{} {
	if c.room == nil {
		c.room = make(chan struct{})
	}
	return c.room
}

// flush writes what waits, unless somebody does already. The caller is a
// goroutine of a call: what the network does not take soon is left to the
// writer goroutine, for a call may end while its bytes still wait.
func (c *conn) flush() {
	c.mu.Lock()
	if c.writing || len(c.out) == 0 || c.err != nil {
		c.mu.Unlock()
		return
	}
	c.writing = true
	if c.secure { // a TLS connection does not survive a write that timed out
		c.hand()
		c.mu.Unlock()
		return
	}
	if len(c.streams) > 1 {
		c.mu.Unlock()
		runtime.Gosched() // others who can run add their frames to this write
		c.mu.Lock()
	}
	err := c.writeSome()
	c.mu.Unlock()
	if err != nil {
		c.fail(unwritten(err))
	}
}

// turns is how often a call's goroutine writes for others.
const turns = 4

// writeSome writes until nothing waits, or hands the rest to the writer
// goroutine. The caller holds mu, and has set writing.
func (c *conn) writeSome() error {
	for range turns {
		buf := c.take()
		c.mu.Unlock()
		_ = c.nc.SetWriteDeadline(time.Now().Add(patience))
		n, err := c.nc.Write(buf)
		c.mu.Lock()
		if n < len(buf) && errors.Is(err, os.ErrDeadlineExceeded) {
			c.out = append(append([]byte(nil), buf[n:]...), c.out...)
			break
		}
		if err != nil {
			return err
		}
		c.keep(buf)
		if len(c.out) == 0 {
			c.writing = false
			return nil
		}
	}
	c.hand()
	return nil
}

// take returns what waits, to be written. The caller holds mu.
func (c *conn) take() []byte {
	buf := c.out
	c.out, c.spare = c.spare[:0], nil
	return buf
}

// keep saves a buffer for take. The caller holds mu.
func (c *conn) keep(buf []byte) {
	if cap(buf) <= 1<<20 {
		c.spare = buf[:0]
	}
}

// hand makes the writer goroutine write. The caller holds mu, and has set writing.
func (c *conn) hand() {
	c.handed = true
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// nudge is flush for those who must not wait for the network.
func (c *conn) nudge() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.writing && len(c.out) > 0 && c.err == nil {
		c.writing = true
		c.hand()
	}
}

// writer writes whatever calls and the reader leave to it.
func (c *conn) writer() {
	for {
		select {
		case <-c.kick:
		case <-c.dead:
			return
		}
		if err := c.writeAll(); err != nil {
			c.fail(unwritten(err))
			return
		}
	}
}

func (c *conn) writeAll() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.handed {
		return nil
	}
	for c.err == nil && len(c.out) > 0 {
		buf := c.take()
		c.mu.Unlock()
		_ = c.nc.SetWriteDeadline(time.Time{})
		_, err := c.nc.Write(buf)
		c.mu.Lock()
		if err != nil {
			return err
		}
		c.keep(buf)
	}
	c.writing, c.handed = false, false
	return nil
}

func unwritten(err error) error {
	return status.Error(codes.Unavailable, fmt.Sprintf("transport: error while writing: %v", err))
}

// keepalive ends a connection whose server has gone without a word.
func (c *conn) keepalive() {
	every := time.NewTicker(c.endpoint.pool.opts.Keepalive)
	defer every.Stop()
	seen := int64(-1)
	for {
		select {
		case <-every.C:
		case <-c.dead:
			return
		}
		now := c.read.Load()
		if now != seen {
			seen = now
			continue
		}
		c.mu.Lock()
		c.out = appendFrame(c.out, http2.FramePing, 0, 0, 8)
		c.out = append(c.out, "transom!"...)
		c.mu.Unlock()
		c.nudge()
		select {
		case <-time.After(pingTimeout):
		case <-c.dead:
			return
		}
		if c.read.Load() == seen {
			c.fail(status.Error(codes.Unavailable, "keepalive ping failed to receive ACK within timeout"))
			return
		}
	}
}

// appendFrame appends the header of a frame (RFC 9113, section 4.1).
func appendFrame(b []byte, t http2.FrameType, flags http2.Flags, id uint32, length int) []byte {
	b = append(b, byte(length>>16), byte(length>>8), byte(length), byte(t), byte(flags))
	return binary.BigEndian.AppendUint32(b, id)
}

func appendSetting(b []byte, id http2.SettingID, v uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, uint16(id)), v)
}

func appendWindowUpdate(b []byte, id, n uint32) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(b, http2.FrameWindowUpdate, 0, id, 4), n)
}

func appendReset(b []byte, id uint32, code http2.ErrCode) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(b, http2.FrameRSTStream, 0, id, 4), uint32(code))
}

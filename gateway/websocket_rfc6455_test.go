package gateway_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// f is a client's frame, masked: first is the whole first byte.
func f(first byte, payload string) string { return frameOf(first, len(payload), 0x80, payload) }

// frameOf is a frame with a length in its shortest form, and its mask bit.
func frameOf(first byte, length int, mask byte, payload string) string {
	b := []byte{first}
	switch {
	case length < 126:
		b = append(b, mask|byte(length))
	case length <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, mask|126), uint16(length))
	default:
		b = binary.BigEndian.AppendUint64(append(b, mask|127), uint64(length))
	}
	return string(b) + masked(mask != 0, payload)
}

func masked(yes bool, payload string) string {
	if !yes {
		return payload
	}
	key := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	p := []byte(payload)
	for i := range p {
		p[i] ^= key[i%4]
	}
	return string(key[:]) + string(p)
}

func closing(code uint16, reason string) string {
	return f(0x88, string(binary.BigEndian.AppendUint16(nil, code))+reason)
}

// handshake opens a socket by hand and returns its connection.
func handshake(t *testing.T, g *running, path, extra string) (net.Conn, *bufio.Reader, *http.Response) {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n%s\r\n", path, extra)
	br := bufio.NewReader(c)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c, br, resp
}

const validHandshake = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// answers reads a server's frames to the end of the connection, or with
// untilClose to its close frame, as "text:...",
// "binary:...", "pong:..." and "close:code reason".
func answers(t *testing.T, br *bufio.Reader, untilClose bool) []string {
	t.Helper()
	var all []string
	for {
		var h [2]byte
		if _, err := io.ReadFull(br, h[:]); err != nil {
			return all
		}
		length := uint64(h[1])
		switch length {
		case 126:
			var n [2]byte
			_, _ = io.ReadFull(br, n[:])
			length = uint64(binary.BigEndian.Uint16(n[:]))
		case 127:
			var n [8]byte
			_, _ = io.ReadFull(br, n[:])
			length = binary.BigEndian.Uint64(n[:])
		}
		if h[1] > 127 || h[0]&0xf0 != 0x80 {
			t.Fatalf("the server's frame begins with %x", h)
		}
		p := make([]byte, length)
		if _, err := io.ReadFull(br, p); err != nil {
			t.Fatal(err)
		}
		switch h[0] & 0x0f {
		case 1:
			all = append(all, "text:"+brief(string(p)))
		case 2:
			all = append(all, "binary:"+brief(string(p)))
		case 10:
			all = append(all, "pong:"+string(p))
		case 8:
			s := "close:"
			if len(p) >= 2 {
				s += fmt.Sprint(binary.BigEndian.Uint16(p))
			}
			if all = append(all, s); untilClose {
				return all
			}
		default:
			t.Fatalf("the server's frame has opcode %d", h[0]&0x0f)
		}
	}
}

func brief(s string) string {
	if len(s) > 40 {
		return fmt.Sprintf("%s...%d", s[:10], len(s))
	}
	return s
}

// TestRFC6455 is a table of the framing rules, over an echo of raw bytes.
func TestRFC6455(t *testing.T) {
	g := startFeed(t, "websocket: {max_message_bytes: 100000}", nil)
	long, bye := strings.Repeat("*", 70_000), closing(1000, "")
	const text, binaryOp, cont, fin = 0x01, 0x02, 0x00, 0x80
	for _, tt := range []struct{ name, send, want string }{
		// 5.1, 5.2: messages of every length form.
		{"empty text", f(fin|text, "") + bye, "text:,close:1000"},
		{"text", f(fin|text, "hello") + bye, "text:hello,close:1000"},
		{"text of 125", f(fin|text, long[:125]) + bye, "text:**********...125,close:1000"},
		{"text of 126", f(fin|text, long[:126]) + bye, "text:**********...126,close:1000"},
		{"text of 65535", f(fin|text, long[:65535]) + bye, "text:**********...65535,close:1000"},
		{"text of 65536", f(fin|text, long[:65536]) + bye, "text:**********...65536,close:1000"},
		{"binary", f(fin|binaryOp, "\x00\xff\xfe") + bye, "binary:\x00\xff\xfe,close:1000"},
		{"two in one write", f(fin|text, "a") + f(fin|text, "b") + bye, "text:a,text:b,close:1000"},
		{"length not in its shortest form, 16 bits", string([]byte{0x81, 0xfe, 0, 5}) + masked(true, "hello"), "close:1002"},
		{"length not in its shortest form, 64 bits", string([]byte{0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 5}) + masked(true, "hello"), "close:1002"},
		{"length with its highest bit", string([]byte{0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 5}) + masked(true, "hello"), "close:1002"},
		{"unmasked", frameOf(fin|text, 5, 0, "hello"), "close:1002"},
		{"unmasked control", frameOf(0x89, 1, 0, "x"), "close:1002"},
		{"RSV1", f(fin|0x40|text, "x"), "close:1002"},
		{"RSV2", f(fin|0x20|text, "x"), "close:1002"},
		{"RSV3", f(fin|0x10|text, "x"), "close:1002"},
		{"RSV1 of a ping", f(0x89|0x40, "x"), "close:1002"},
		{"reserved opcode 3", f(fin|0x03, "x"), "close:1002"},
		{"reserved opcode 7", f(fin|0x07, ""), "close:1002"},
		{"reserved opcode 11", f(fin|0x0b, ""), "close:1002"},
		{"reserved opcode 15", f(fin|0x0f, "x"), "close:1002"},
		// 5.4: fragmentation.
		{"two fragments", f(text, "hel") + f(fin|cont, "lo") + bye, "text:hello,close:1000"},
		{"empty fragments", f(text, "") + f(cont, "") + f(fin|cont, "") + bye, "text:,close:1000"},
		{"control in between", f(text, "hel") + f(0x89, "!") + f(cont, "l") + f(0x8a, "?") + f(fin|cont, "o") + bye, "pong:!,text:hello,close:1000"},
		{"continuation of nothing", f(fin|cont, "x"), "close:1002"},
		{"open continuation of nothing", f(cont, "x"), "close:1002"},
		{"a message in a message", f(text, "a") + f(fin|text, "b"), "close:1002"},
		{"a binary fragment of a text", f(text, "a") + f(fin|binaryOp, "b"), "close:1002"},
		{"close in between", f(text, "a") + bye, "close:1000"},
		// 5.5: control frames.
		{"ping", f(0x89, "") + bye, "pong:,close:1000"},
		{"ping of 125", f(0x89, long[:125]) + bye, "pong:" + long[:125] + ",close:1000"},
		{"ping of 126", f(0x89, long[:126]), "close:1002"},
		{"fragmented ping", f(0x09, "x"), "close:1002"},
		{"fragmented close", f(0x08, ""), "close:1002"},
		{"pong unasked", f(0x8a, "x") + bye, "close:1000"},
		{"nothing after close", bye + f(fin|text, "late"), "close:1000"},
		// 5.5.1, 7.4: close codes and reasons.
		{"close without a code", f(0x88, ""), "close:"},
		{"close of one byte", f(0x88, "x"), "close:1002"},
		{"close with a reason", closing(1000, "done"), "close:1000"},
		{"close with the longest reason", closing(1000, long[:123]), "close:1000"},
		{"close with a reason too long", closing(1000, long[:124]), "close:1002"},
		{"close with a reason that is not UTF-8", closing(1000, "\xff"), "close:1007"},
		{"close 1001", closing(1001, ""), "close:1001"},
		{"close 1003", closing(1003, ""), "close:1003"},
		{"close 1007", closing(1007, ""), "close:1007"},
		{"close 1011", closing(1011, ""), "close:1011"},
		{"close 1014", closing(1014, ""), "close:1014"},
		{"close 3000", closing(3000, ""), "close:3000"},
		{"close 4999", closing(4999, ""), "close:4999"},
		{"close 0", closing(0, ""), "close:1002"},
		{"close 999", closing(999, ""), "close:1002"},
		{"close 1004", closing(1004, ""), "close:1002"},
		{"close 1005", closing(1005, ""), "close:1002"},
		{"close 1006", closing(1006, ""), "close:1002"},
		{"close 1015", closing(1015, ""), "close:1002"},
		{"close 1016", closing(1016, ""), "close:1002"},
		{"close 2999", closing(2999, ""), "close:1002"},
		{"close 5000", closing(5000, ""), "close:1002"},
		{"close 65535", closing(65535, ""), "close:1002"},
		// 8.1: text is UTF-8.
		{"UTF-8", f(fin|text, "κόσμε 😀") + bye, "text:κόσμε 😀,close:1000"},
		{"UTF-8 cut by a fragment", f(text, "\xf0\x9f") + f(cont, "\x98") + f(fin|cont, "\x80") + bye, "text:😀,close:1000"},
		{"NUL is text", f(fin|text, "\x00") + bye, "text:\x00,close:1000"},
		{"not UTF-8", f(fin|text, "a\xffb"), "close:1007"},
		{"not UTF-8 in the first fragment", f(text, "\xce\xba\xed\xa0\x80"), "close:1007"},
		{"surrogate", f(fin|text, "\xed\xa0\x80"), "close:1007"},
		{"overlong", f(fin|text, "\xc0\xaf"), "close:1007"},
		{"beyond U+10FFFF", f(fin|text, "\xf4\x90\x80\x80"), "close:1007"},
		{"cut at the end", f(fin|text, "\xce"), "close:1007"},
		{"cut at the end of the last fragment", f(text, "\xe2\x82") + f(fin|cont, ""), "close:1007"},
		{"binary need not be UTF-8", f(binaryOp, "\xff") + f(fin|cont, "\xfe") + bye, "binary:\xff\xfe,close:1000"},
		// 7.4.1, 10.4: sizes.
		{"too big", frameOf(fin|text, 100_001, 0x80, ""), "close:1009"},
		{"too big in fragments", f(text, long) + f(fin|cont, long), "close:1009"},
		{"a lie about its size", string([]byte{0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}) + masked(true, ""), "close:1009"},
	} {
		for _, cut := range []bool{false, true} { // at once, and byte by byte
			if cut && len(tt.send) > 1000 {
				continue
			}
			t.Run(fmt.Sprintf("%s/%v", tt.name, cut), func(t *testing.T) {
				c, br, resp := handshake(t, g, "/v1/pipe", validHandshake)
				if resp.StatusCode != 101 || resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
					t.Fatalf("the handshake got %v", resp)
				}
				pieces := []string{tt.send}
				if cut {
					pieces = nil
					for i := range len(tt.send) {
						pieces = append(pieces, tt.send[i:i+1])
					}
				}
				for _, p := range pieces {
					if _, err := io.WriteString(c, p); err != nil {
						break // the server has had enough
					}
				}
				got := answers(t, br, false)
				// Echoes may be missing that a close frame has overtaken: it cancels the call.
				if want := strings.Split(tt.want, ","); !slices.Equal(got, want) && !slices.Equal(got, slices.DeleteFunc(want, isEcho)) {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			})
		}
	}
}

func isEcho(s string) bool { return strings.HasPrefix(s, "text:") || strings.HasPrefix(s, "binary:") }

// TestRFC6455Handshake is a table of section 4.2.
func TestRFC6455Handshake(t *testing.T) {
	g := startFeed(t, "", nil)
	for _, tt := range []struct {
		name, extra string
		status      int
	}{
		{"valid", validHandshake, 101},
		{"no version", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", 426},
		{"an old version", "Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", 426},
		{"no key", "Sec-WebSocket-Version: 13\r\n", 400},
		{"two keys", validHandshake + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", 400},
		{"a short key", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n", 400},
		{"a key that is not base64", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ************************\r\n", 400},
		{"a body", validHandshake + "Content-Length: 1\r\n\r\nx", 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, resp := handshake(t, g, "/v1/pipe", tt.extra)
			if resp.StatusCode != tt.status {
				t.Errorf("got %v, want %d", resp.Status, tt.status)
			}
			if tt.status == 426 && resp.Header.Get("Sec-WebSocket-Version") != "13" {
				t.Errorf("the versions that are known are not said: %v", resp.Header)
			}
		})
	}
}

// TestSocketPing: the silent are pinged, and the dead are left.
func TestSocketPing(t *testing.T) {
	ended := make(chan string, 1)
	g := startFeed(t, "websocket: {ping_interval: 20ms, pong_timeout: 100ms}", ended)
	_, br, resp := handshake(t, g, "/v1/items/forever:watch", validHandshake)
	if resp.StatusCode != 101 {
		t.Fatal(resp.Status)
	}
	for pinged := false; !pinged; { // items come, too
		var h [2]byte
		if _, err := io.ReadFull(br, h[:]); err != nil {
			t.Fatal("no ping: ", err)
		}
		_, _ = br.Discard(int(h[1]))
		pinged = h[0] == 0x89
	}
	if m := <-ended; m != "/test.v1.Feed/Watch" { // and no pong: the call is canceled
		t.Error(m)
	}
}

package frame

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

// client appends a client's frame.
func client(dst []byte, first byte, payload []byte) []byte {
	start := len(dst)
	dst = AppendHeader(dst, Opcode(first&0x0f), len(payload), false)
	dst[start], dst[start+1] = first, dst[start+1]|maskBit
	key := [4]byte{1, 2, 3, 4}
	dst = append(dst, key[:]...)
	at := len(dst)
	dst = append(dst, payload...)
	unmask(dst[at:], key, 0)
	return dst
}

func reader(src io.Reader, limit int, compression bool) *Reader {
	return &Reader{Src: bufio.NewReader(src), Max: limit, Compression: compression, Control: func(op Opcode, p []byte) error {
		if op == Close {
			_, _, err := ParseClose(p)
			if err != nil {
				return err
			}
			return io.EOF
		}
		return nil
	}}
}

// all reads to the end, and returns what was read and why it ended.
func all(src io.Reader, limit int) (got []string, err error) {
	r := reader(src, limit, false)
	for {
		p, text, err := r.Next(nil)
		if err != nil {
			return got, err
		}
		kind := "b:"
		if text {
			kind = "t:"
		}
		got = append(got, kind+string(p))
	}
}

// FuzzReader: however the bytes are cut into pieces, they say the same; text is
// UTF-8; nothing is larger than the limit.
func FuzzReader(f *testing.F) {
	f.Add(client(client(nil, 0x81, []byte("hello")), 0x88, nil))
	f.Add(client(client(client(nil, 0x01, []byte("a\xe2\x82")), 0x89, []byte("p")), 0x80, []byte("\xac")))
	f.Add(client(nil, 0x82, bytes.Repeat([]byte("x"), 300)))
	f.Add([]byte{0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, p []byte) {
		const limit = 256
		whole, werr := all(bytes.NewReader(p), limit)
		pieces, perr := all(iotest.OneByteReader(bytes.NewReader(p)), limit)
		if strings.Join(whole, "|") != strings.Join(pieces, "|") || (werr == nil) != (perr == nil) || werr != nil && werr.Error() != perr.Error() {
			t.Fatalf("at once %q %v, in pieces %q %v", whole, werr, pieces, perr)
		}
		for _, m := range whole {
			if len(m)-2 > limit || m[0] == 't' && !utf8.ValidString(m) {
				t.Fatalf("a message that must not be: %q", m)
			}
		}
		var violation *Error
		if errors.As(werr, &violation) && (!validCode(violation.Code) || len(violation.Reason) > MaxReason) {
			t.Fatalf("a close frame that must not be: %d %q", violation.Code, violation.Reason)
		}
	})
}

// FuzzFragments: a message is the same however it is fragmented.
func FuzzFragments(f *testing.F) {
	f.Add([]byte("κόσμε"), uint8(3))
	f.Fuzz(func(t *testing.T, p []byte, size uint8) {
		n := int(size)%16 + 1
		var wire []byte
		first := byte(0x01)
		for rest := p; ; {
			k := min(n, len(rest))
			if k == len(rest) {
				first |= 0x80
			}
			wire = client(wire, first, rest[:k])
			if rest = rest[k:]; first&0x80 != 0 {
				break
			}
			first = 0
		}
		got, text, err := reader(bytes.NewReader(wire), 1<<20, false).Next(nil)
		if utf8.Valid(p) != (err == nil) || err == nil && (!text || !bytes.Equal(got, p)) {
			t.Fatalf("%q became %q, %v", p, got, err)
		}
	})
}

// FuzzDeflate: what is deflated inflates to itself, and a bomb is stopped.
func FuzzDeflate(f *testing.F) {
	f.Add([]byte("hello hello hello"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, p []byte) {
		small, err := Deflate(nil, p)
		if err != nil {
			t.Fatal(err)
		}
		got, err := inflate(small, len(p))
		if err != nil || !bytes.Equal(got, p) {
			t.Fatalf("%q became %q, %v", p, got, err)
		}
		if len(p) > 0 {
			if _, err := inflate(small, len(p)-1); err == nil {
				t.Fatal("the limit did not hold")
			}
		}
		_, _ = inflate(p, 1000)
	})
}

// FuzzClose: a close frame that is written can be read.
func FuzzClose(f *testing.F) {
	f.Add(1000, "done")
	f.Add(4008, strings.Repeat("ä", 100))
	f.Add(4008, "\xff")
	f.Fuzz(func(t *testing.T, code int, reason string) {
		p := AppendClose(nil, code, reason)
		if len(p) > MaxControl {
			t.Fatalf("%d bytes", len(p))
		}
		got, text, err := ParseClose(p)
		if code != CodeNone && validCode(code) && (err != nil || got != code || utf8.ValidString(reason) && !strings.HasPrefix(reason, text)) {
			t.Fatalf("%d %q became %d %q, %v", code, reason, got, text, err)
		}
	})
}

func TestAcceptsDeflate(t *testing.T) {
	for offer, want := range map[string]bool{
		"permessage-deflate":                                                         true,
		"permessage-deflate; client_max_window_bits":                                 true,
		"permessage-deflate; client_max_window_bits=10":                              true,
		`permessage-deflate; server_max_window_bits="15"`:                            true,
		"permessage-deflate; server_max_window_bits=10":                              false,
		"permessage-deflate; server_max_window_bits=10, permessage-deflate":          true,
		"permessage-deflate; unknown":                                                false,
		"permessage-deflate; server_no_context_takeover; server_no_context_takeover": false,
		"permessage-deflate; server_no_context_takeover=1":                           false,
		"x-webkit-deflate-frame":                                                     false,
		"":                                                                           false,
	} {
		if got := AcceptsDeflate([]string{offer}); got != want {
			t.Errorf("%q: %v, want %v", offer, got, want)
		}
	}
}

func TestHeaderLengths(t *testing.T) {
	for _, n := range []int{0, 125, 126, 65535, 65536} {
		h := AppendHeader(nil, Binary, n, false)
		got := uint64(h[1])
		switch len(h) {
		case 4:
			got = uint64(binary.BigEndian.Uint16(h[2:]))
		case 10:
			got = binary.BigEndian.Uint64(h[2:])
		}
		if got != uint64(n) || h[0] != 0x82 {
			t.Errorf("%d became % x", n, h)
		}
	}
}

func BenchmarkUnmask(b *testing.B) {
	p := make([]byte, 4096)
	b.SetBytes(int64(len(p)))
	for range b.N {
		unmask(p, [4]byte{1, 2, 3, 4}, 0)
	}
}

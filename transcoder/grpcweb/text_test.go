package grpcweb

import (
	"bytes"
	"encoding/base64"
	"io"
	"testing"
	"testing/iotest"
)

// FuzzText: what textWriter writes, in any pieces, textReader reads back,
// whatever pieces it arrives in; and no text makes the reader panic.
func FuzzText(f *testing.F) {
	f.Add([]byte("hello"), uint8(2), []byte("aGk=aGk"))
	f.Add([]byte{}, uint8(0), []byte("===="))
	f.Add(bytes.Repeat([]byte("0123456789"), 1000), uint8(255), []byte("a"))
	f.Fuzz(func(t *testing.T, data []byte, piece uint8, text []byte) {
		var out bytes.Buffer
		w := &textWriter{dst: &out}
		for rest := data; len(rest) > 0; {
			n := min(int(piece)+1, len(rest))
			_, _ = w.Write(rest[:n])
			if rest = rest[n:]; n%3 == 0 {
				_ = w.pad()
			}
		}
		_ = w.pad()
		for _, src := range []io.Reader{bytes.NewReader(out.Bytes()), iotest.OneByteReader(bytes.NewReader(out.Bytes())), iotest.DataErrReader(bytes.NewReader(out.Bytes()))} {
			got, err := io.ReadAll(&textReader{src: src})
			if err != nil || !bytes.Equal(got, data) {
				t.Fatalf("%q became %q, %v", data, got, err)
			}
		}
		got, err := io.ReadAll(&textReader{src: bytes.NewReader(text)})
		slow, slowErr := io.ReadAll(&textReader{src: iotest.OneByteReader(bytes.NewReader(text))})
		if (err == nil) != (slowErr == nil) || err == nil && !bytes.Equal(got, slow) {
			t.Fatalf("%q: %q, %v in one piece, %q, %v byte by byte", text, got, err, slow, slowErr)
		}
		if want, e := base64.StdEncoding.DecodeString(string(text)); e == nil && !bytes.ContainsAny(text, "\r\n") && (err != nil || !bytes.Equal(got, want)) {
			t.Fatalf("%q: %q, %v, want %q", text, got, err, want)
		}
	})
}

package envelope

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"

	"github.com/transomhq/transom/rpc"
)

// messages reads all of src.
func messages(src io.Reader, limit int, z *Gzip) (flags []byte, payloads [][]byte, err error) {
	r := Reader{Src: src, Max: limit, Gzip: z, Malformed: codes.Internal}
	defer r.Close()
	for {
		f, p, err := r.Next()
		if err != nil {
			return flags, payloads, err
		}
		flags = append(flags, f)
		payloads = append(payloads, p.Materialize())
		p.Free()
	}
}

// FuzzReader: the chunks in which bytes arrive change nothing, what was read
// writes back to the same bytes, and nothing panics or passes the limit.
func FuzzReader(f *testing.F) {
	frame := func(flags byte, p []byte) []byte {
		return append(binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(p))), p...)
	}
	f.Add([]byte{})
	f.Add([]byte{0, 0, 0, 0, 0})
	f.Add([]byte{1, 0, 0, 0, 0})
	f.Add(append(frame(0, []byte("abc")), frame(0x80, []byte("x"))...))
	f.Add(frame(0, make([]byte, 5000)))
	f.Add(frame(0, make([]byte, 70_000)))
	f.Add(frame(0, []byte("abc"))[:6])
	f.Add([]byte{0, 0xff, 0xff, 0xff, 0xff})
	z := new(Gzip)
	deflated, _ := z.Deflate(mem.BufferSlice{mem.SliceBuffer("hello")})
	f.Add(frame(1, deflated.Materialize()))
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 100_000
		flags, payloads, err := messages(bytes.NewReader(data), limit, z)
		flags1, payloads1, err1 := messages(iotest.OneByteReader(bytes.NewReader(data)), limit, z)
		if !bytes.Equal(flags, flags1) || !slices.EqualFunc(payloads, payloads1, bytes.Equal) || rpc.StatusOf(err).Code() != rpc.StatusOf(err1).Code() {
			t.Fatalf("in one piece %v, byte by byte %v", err, err1)
		}
		var out bytes.Buffer
		w := Writer{Dst: &out}
		compressed := false
		for i, p := range payloads {
			if len(p) > limit {
				t.Fatalf("payload of %d bytes", len(p))
			}
			if _, err := w.Write(flags[i], mem.BufferSlice{mem.SliceBuffer(p)}); err != nil {
				t.Fatal(err)
			}
		}
		for rest := data; len(rest) >= HeaderLen; {
			compressed = compressed || rest[0]&FlagCompressed != 0
			n := int(binary.BigEndian.Uint32(rest[1:])) + HeaderLen
			rest = rest[min(n, len(rest)):]
		}
		if !compressed && !bytes.HasPrefix(data, out.Bytes()) {
			t.Fatal("what was read does not write back")
		}
		if errors.Is(err, io.EOF) && !compressed && out.Len() != len(data) {
			t.Fatal("a clean end before the end")
		}
	})
}

// TestReaderMemory: a claimed length costs nothing until bytes arrive.
func TestReaderMemory(t *testing.T) {
	claim := []byte{0, 0x3f, 0xff, 0xff, 0xff, 'x'} // 1 GiB
	allocated := testing.AllocsPerRun(10, func() {
		if _, _, err := messages(bytes.NewReader(claim), 2<<30, nil); rpc.StatusOf(err).Code() != codes.Internal {
			t.Fatal(err)
		}
	})
	if allocated > 30 {
		t.Errorf("%v allocations", allocated)
	}
}

func TestGzip(t *testing.T) {
	z := new(Gzip)
	for _, size := range []int{0, 1, 1000, 5000, 100_000, 1 << 20} {
		want := bytes.Repeat([]byte("abcdefg"), size/7+1)[:size]
		deflated, err := z.Deflate(mem.BufferSlice{mem.SliceBuffer(want)})
		if err != nil {
			t.Fatal(err)
		}
		inflated, err := z.Inflate(deflated, size, codes.Internal)
		if err != nil || !bytes.Equal(inflated.Materialize(), want) {
			t.Errorf("%d bytes became %d, %v", size, inflated.Len(), err)
		}
		if size > 0 {
			if _, err := z.Inflate(deflated, size-1, codes.Internal); rpc.StatusOf(err).Code() != codes.ResourceExhausted {
				t.Errorf("one byte over the limit gave %v", err)
			}
		}
		whole := deflated.Materialize()
		for _, cut := range []int{1, len(whole) / 2, len(whole) - 1} {
			if _, err := z.Inflate(mem.BufferSlice{mem.SliceBuffer(whole[:cut])}, size, codes.Internal); rpc.StatusOf(err).Code() != codes.Internal {
				t.Errorf("gzip of %d bytes cut after %d gave %v", size, cut, err)
			}
		}
	}
}

func TestReadBody(t *testing.T) {
	gone := errors.New("gone")
	for _, size := range []int{0, 1, 4096, 4097, 40_000} {
		data := make([]byte, size)
		for name, src := range map[string]io.Reader{"whole": bytes.NewReader(data), "bytes": iotest.OneByteReader(bytes.NewReader(data)), "eof": iotest.DataErrReader(bytes.NewReader(data))} {
			if got, err := ReadBody(src, size); err != nil || got.Len() != size {
				t.Errorf("%s of %d: %d, %v", name, size, got.Len(), err)
			}
		}
		if _, err := ReadBody(io.MultiReader(bytes.NewReader(data), iotest.ErrReader(gone)), size+1); !errors.Is(err, gone) {
			t.Errorf("a failing body gave %v", err)
		}
		if size > 0 {
			if _, err := ReadBody(bytes.NewReader(data), size-1); rpc.StatusOf(err).Code() != codes.ResourceExhausted {
				t.Errorf("one byte over the limit gave %v", err)
			}
		}
	}
}

func TestAcceptsGzip(t *testing.T) {
	for list, want := range map[string]bool{
		"gzip": true, "identity,gzip": true, "br, GZIP ;q=0.5": true, "gzip; q=1.0": true,
		"": false, "identity": false, "gzip;q=0": false, "gzip;q=0.000": false, "xgzip": false,
	} {
		if got := AcceptsGzip(list); got != want {
			t.Errorf("AcceptsGzip(%q) = %v", list, got)
		}
	}
}

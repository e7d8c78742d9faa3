package direct

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/transomhq/transom/transcoder/codec"
)

func repeat(n int, sep string, f func(int) string) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = f(i)
	}
	return strings.Join(parts, sep)
}

// hostileTexts grow with n, and the work for them must not grow faster.
var hostileTexts = map[string]func(n int) string{
	"map keys": func(n int) string {
		return `{"mString":{` + repeat(n, ",", func(i int) string { return fmt.Sprintf(`"%08d":""`, i) }) + `}}`
	},
	"number keys": func(n int) string {
		return `{"mInt64":{` + repeat(n, ",", func(i int) string { return fmt.Sprintf(`"%d":1`, i<<32) }) + `}}`
	},
	"dropped keys": func(n int) string {
		return `{"mMode":{` + repeat(n, ",", func(i int) string { return fmt.Sprintf(`"%d":"NO"`, i) }) + `}}`
	},
	"struct keys": func(n int) string {
		return `{"wStruct":{` + repeat(n, ",", func(i int) string { return fmt.Sprintf(`"%d":[{}]`, i) }) + `}}`
	},
	"unknown": func(n int) string { return `{` + repeat(n, ",", func(int) string { return `"x":[[],{}]` }) + `}` },
	"deep and wide": func(n int) string {
		return strings.Repeat(`{"rSub":[`, 90) + repeat(n, ",", func(int) string { return `{}` }) + strings.Repeat(`]}`, 90)
	},
	"late types": func(n int) string {
		return `{"rwAny":[` + repeat(n, ",", func(int) string { return `{"name":"x","codes":[1,2],"@type":"x/transom.codectest.v1.Leaf"}` }) + `]}`
	},
	"late types, deep": func(n int) string {
		return strings.Repeat(`{"wAny":{"wAny":`, 1) + `{"value":` + strings.Repeat(`{"value":`, 20) + `[` + repeat(n, ",", func(int) string { return "1" }) + `]` + strings.Repeat(`,"@type":"x/google.protobuf.Any"}`, 20) + `,"@type":"x/google.protobuf.ListValue"},"@type":"x/transom.codectest.v1.Everything"}}`
	},
	"exponents": func(n int) string {
		return `{"rDouble":[` + repeat(n, ",", func(int) string { return `1e-999999999` }) + `]}`
	},
}

// TestHostileTexts counts the work for texts of n and 2n pieces.
func TestHostileTexts(t *testing.T) {
	c, err := New().Compile(codec.Root{Message: everything()}, codec.Options{DiscardUnknown: true})
	if err != nil {
		t.Fatal(err)
	}
	p := c.(*plan)
	for name, text := range hostileTexts {
		work := func(n int) int {
			r := p.family.reader()
			defer p.family.releaseReader(r)
			if _, err := r.run(p, nil, []byte(text(n))); err != nil && !strings.HasPrefix(name, "late types, deep") {
				t.Fatalf("%s: %v", name, err)
			}
			return r.work
		}
		small, large := work(3000), work(6000)
		if 2*small+200 < large*4/5 || large > 6000*30 {
			t.Errorf("%s: work %d grew to %d", name, small, large)
		}
	}
}

// hostileWires likewise.
var hostileWires = map[string]func(n int) []byte{
	"split at every level": func(n int) []byte {
		b := bytes.Repeat([]byte{16, 1}, n) // f_int32, again and again
		for range 90 {
			half := len(b) / 4 * 2
			b = append(wrap(17, b[:half]), wrap(17, b[half:])...)
		}
		return b
	},
	"repeated at every level": func(n int) []byte {
		b := bytes.Repeat([]byte{16, 1}, n)
		for range 90 {
			b = append(wrap(17, b), 16, 1, 16, 1)
		}
		return b
	},
	"one key": func(n int) []byte { return bytes.Repeat(wrap(92, wrap(1, []byte("k"))), n) },
	"many keys": func(n int) []byte {
		return []byte(repeat(n, "", func(i int) string { return string(wrap(92, wrap(1, fmt.Append(nil, n-i)))) }))
	},
	"two members of a oneof": func(n int) []byte {
		return bytes.Repeat(append(wrap(119, []byte{16, 1}), wrap(112, nil)...), n)
	},
	"two lists in turn": func(n int) []byte { return bytes.Repeat(append(wrap(64, nil), wrap(67, nil)...), n) },
	"split values": func(n int) []byte {
		return wrap(147, bytes.Repeat(wrap(6, wrap(1, []byte{8, 0})), n))
	},
	"unknown": func(n int) []byte { return bytes.Repeat([]byte{0xf8, 0x3f, 1}, n) },
}

func TestHostileWires(t *testing.T) {
	c, err := New().Compile(codec.Root{Message: everything()}, codec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := c.(*plan)
	for name, wire := range hostileWires {
		work := func(n int) int {
			w := p.family.writer()
			defer p.family.releaseWriter(w)
			if _, err := w.run(p, nil, wire(n)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return w.work
		}
		small, large := work(3000), work(6000)
		if 2*small+200 < large*4/5 || large > 6000*30 {
			t.Errorf("%s: work %d grew to %d", name, small, large)
		}
	}
}

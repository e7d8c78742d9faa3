package serverstream

import (
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/metadata"
)

func TestParseTimeout(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"0n": 0, "1n": 1, "1u": 1e3, "1m": 1e6, "1S": 1e9, "1M": 60e9, "1H": 3600e9, "00000001S": 1e9,
		"99999999H": math.MaxInt64, "99999999M": 99999999 * time.Minute,
	} {
		if got, ok := ParseTimeout(s); !ok || got != want {
			t.Errorf("ParseTimeout(%q) = %v, %v, want %v", s, got, ok, want)
		}
	}
	for _, s := range []string{"", "1", "S", "-1S", "+1S", " 1S", "1 S", "1s", "1h", "1.5S", "1_0S", "123456789S", "0x1S", "١S"} {
		if got, ok := ParseTimeout(s); ok {
			t.Errorf("ParseTimeout(%q) = %v, want a refusal", s, got)
		}
	}
}

// FuzzTimeout: only digits and a unit are taken, and the value is theirs.
func FuzzTimeout(f *testing.F) {
	for _, s := range []string{"1S", "99999999H", "0n", "-1S", "1"} {
		f.Add(s)
	}
	units := map[byte]float64{'H': 3600e9, 'M': 60e9, 'S': 1e9, 'm': 1e6, 'u': 1e3, 'n': 1}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := ParseTimeout(s)
		if len(s) < 2 || len(s) > 9 || strings.Trim(s[:len(s)-1], "0123456789") != "" || units[s[len(s)-1]] == 0 {
			if ok {
				t.Fatalf("%q was taken as %v", s, got)
			}
			return
		}
		n, _ := strconv.ParseFloat(s[:len(s)-1], 64)
		if want := min(n*units[s[len(s)-1]], math.MaxInt64); !ok || math.Abs(float64(got)-want) > want/1e9 {
			t.Fatalf("%q became %v, %v", s, got, ok)
		}
	})
}

// FuzzMessage: the encoding is printable ASCII, and decodes to the text.
func FuzzMessage(f *testing.F) {
	for _, s := range []string{"", "plain", "100%", "\t☺\n", "\xff", "%zz", "a%41"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		enc := EncodeMessage(s)
		if !printable(enc) {
			t.Fatalf("%q became %q", s, enc)
		}
		got, err := url.PathUnescape(enc)
		want := s
		if !utf8.ValidString(s) {
			want = string([]rune(s))
		}
		if err != nil || got != want {
			t.Fatalf("%q became %q and then %q, %v", s, enc, got, err)
		}
	})
}

// FuzzBinaryMetadata: what a response carries, a request brings back.
func FuzzBinaryMetadata(f *testing.F) {
	f.Add("a", "", "AAE=")
	f.Add("\x00", "\xff", "AA, AAE")
	f.Fuzz(func(t *testing.T, a, b, raw string) {
		h := http.Header{}
		AppendTo(h, "", metadata.MD{"k-bin": {a, b}})
		for _, values := range [][]string{h["K-Bin"], {strings.Join(h["K-Bin"], ",")}, {strings.Join(h["K-Bin"], "==, ")}} {
			got, err := Incoming(&http.Request{Header: http.Header{"K-Bin": values}}, nil)
			if err != nil || !slices.Equal(got["k-bin"], []string{a, b}) {
				t.Fatalf("%q, %q became %q, %v", a, b, got, err)
			}
		}
		_, _ = Incoming(&http.Request{Header: http.Header{"K-Bin": {raw}}}, nil)
	})
}

func TestReserved(t *testing.T) {
	h := http.Header{}
	AppendTo(h, "", metadata.MD{
		"ok": {"1", "bad\n", "2"}, "content-type": {"x"}, "grpc-status": {"0"}, "grpc-retry-pushback-ms": {"5"}, ":path": {"/"},
		"connection": {"close"}, "transfer-encoding": {"chunked"}, "content-length": {"9"}, "Upper": {"x"}, "sp ace": {"x"}, "trailer": {"x"},
	})
	if len(h) != 2 || !slices.Equal(h["Ok"], []string{"1", "2"}) || h.Get("Grpc-Retry-Pushback-Ms") != "5" {
		t.Errorf("the response has %v", h)
	}
}

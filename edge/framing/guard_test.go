package framing_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/transomhq/transom/edge/framing"
)

func limits() *framing.Limits {
	return &framing.Limits{Head: 2048, URI: 256, Fields: 20, ChunkExt: 64}
}

// follow shows input to a guard in pieces of the given sizes, in turn, the way a
// connection does. It returns what was passed, where requests ended in it, and
// the error.
func follow(input []byte, sizes ...int) (passed []byte, ends []int, err *framing.Error) {
	g := framing.NewGuard(limits())
	var held []byte
	for i := 0; len(input) > 0; i++ {
		n := min(len(input), max(1, sizes[i%len(sizes)]))
		held, input = append(held, input[:n]...), input[n:]
		for len(held) > 0 {
			skip, pass, e := g.Next(held)
			passed = append(passed, held[skip:skip+pass]...)
			held = held[skip+pass:]
			if pass > 0 && g.Between() && e == nil {
				ends = append(ends, len(passed))
			}
			if e != nil {
				return passed, ends, e
			}
			if skip+pass == 0 {
				break
			}
		}
	}
	return passed, ends, nil
}

func TestRefusals(t *testing.T) {
	const host = "Host: a\r\n"
	post := func(fields, body string) string {
		return "POST / HTTP/1.1\r\n" + host + fields + "\r\n" + body
	}
	chunked := func(body string) string { return post("Transfer-Encoding: chunked\r\n", body) }
	te := `Transfer-Encoding is not exactly "chunked"`
	for _, tt := range []struct{ name, in, want string }{
		{"both lengths", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), "Content-Length together with Transfer-Encoding"},
		{"both lengths, other order", post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"), "Content-Length together with Transfer-Encoding"},
		{"two lengths", post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"), "more than one Content-Length header field"},
		{"the same length twice", post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), "more than one Content-Length header field"},
		{"list of lengths", post("Content-Length: 5, 5\r\n", "hello"), "malformed Content-Length header field"},
		{"signed length", post("Content-Length: +5\r\n", "hello"), "malformed Content-Length header field"},
		{"negative length", post("Content-Length: -5\r\n", "hello"), "malformed Content-Length header field"},
		{"hexadecimal length", post("Content-Length: 0x5\r\n", "hello"), "malformed Content-Length header field"},
		{"empty length", post("Content-Length:\r\n", "hello"), "malformed Content-Length header field"},
		{"length with tab", post("Content-Length:\t5\r\n", "hello"), "malformed Content-Length header field"},
		{"huge length", post("Content-Length: 99999999999999999999\r\n", "hello"), "Content-Length header field is too large"},
		{"length over int64", post("Content-Length: 9223372036854775808\r\n", "hello"), "Content-Length header field is too large"},
		{"Chunked", post("Transfer-Encoding: Chunked\r\n", ""), te},
		{"CHUNKED", post("Transfer-Encoding: CHUNKED\r\n", ""), te},
		{"chunked with tab", post("Transfer-Encoding:\tchunked\r\n", ""), te},
		{"chunked and space", post("Transfer-Encoding: chunked \r\n", ""), te},
		{"two spaces", post("Transfer-Encoding:  chunked\r\n", ""), te},
		{"quoted", post("Transfer-Encoding: \"chunked\"\r\n", ""), te},
		{"xchunked", post("Transfer-Encoding: xchunked\r\n", ""), te},
		{"identity", post("Transfer-Encoding: identity\r\n", ""), te},
		{"gzip, chunked", post("Transfer-Encoding: gzip, chunked\r\n", ""), te},
		{"chunked, chunked", post("Transfer-Encoding: chunked, chunked\r\n", ""), te},
		{"chunked, identity", post("Transfer-Encoding: chunked, identity\r\n", ""), te},
		{"chunked;q=1", post("Transfer-Encoding: chunked;q=1\r\n", ""), te},
		{"empty coding", post("Transfer-Encoding:\r\n", ""), te},
		{"two codings", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", ""), "more than one Transfer-Encoding header field"},
		{"two codings, one hidden", post("transfer-encoding: chunked\r\nTRANSFER-ENCODING: x\r\n", ""), "more than one Transfer-Encoding header field"},
		{"coding in HTTP/1.0", "POST / HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding in an HTTP/1.0 request"},
		{"coding with vertical tab", post("Transfer-Encoding: \x0bchunked\r\n", ""), "invalid character in a header field value"},
		{"space before colon", post("Transfer-Encoding : chunked\r\n", ""), "invalid character in a header field name"},
		{"tab before colon", post("Content-Length\t: 5\r\n", ""), "invalid character in a header field name"},
		{"NUL in name", post("Content-\x00Length: 5\r\n", ""), "invalid character in a header field name"},
		{"obs-fold", post("X: a\r\n b\r\n", ""), "header field folded over several lines"},
		{"obs-fold of the coding", post("Transfer-Encoding:\r\n chunked\r\n", ""), te},
		{"fold on the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", "header field folded over several lines"},
		{"no colon", post("Content-Length 5\r\n", ""), "header field without a colon"},
		{"no name", post(": 5\r\n", ""), "header field without a name"},
		{"bare CR in value", post("X: a\rContent-Length: 5\r\n", ""), "invalid character in a header field value"},
		{"NUL in value", post("X: a\x00b\r\n", ""), "invalid character in a header field value"},
		{"DEL in value", post("X: a\x7f\r\n", ""), "invalid character in a header field value"},
		{"bare LF after the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", "a line ends in LF without CR"},
		{"bare LF after a field", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", "a line ends in LF without CR"},
		{"bare LF at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n", "a line ends in LF without CR"},
		{"CR CR LF", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", "invalid character in a header field value"},
		{"no Host", "GET / HTTP/1.1\r\n\r\n", "missing Host header field"},
		{"two Hosts", "GET / HTTP/1.1\r\n" + host + host + "\r\n", "more than one Host header field"},
		{"empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "malformed Host header field"},
		{"Host with user", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", "malformed Host header field"},
		{"Host with path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "malformed Host header field"},
		{"Host list", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "malformed Host header field"},
		{"Host with bad port", "GET / HTTP/1.1\r\nHost: a:66000\r\n\r\n", "malformed Host header field"},
		{"Host with long port", "GET / HTTP/1.1\r\nHost: a:99999999999999999999999999\r\n\r\n", "malformed Host header field"},
		{"Host with bad IPv6", "GET / HTTP/1.1\r\nHost: [::g]\r\n\r\n", "malformed Host header field"},
		{"absolute form, other Host", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "the Host header field differs from the request target"},
		{"absolute form with user", "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", "malformed request target"},
		{"absolute form, other scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "malformed request target"},
		{"absolute form without host", "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", "malformed request target"},
		{"relative target", "GET x HTTP/1.1\r\nHost: a\r\n\r\n", "malformed request target"},
		{"star", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", "malformed request target"},
		{"fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", "invalid character in the request target"},
		{"NUL in target", "GET /a\x00b HTTP/1.1\r\nHost: a\r\n\r\n", "invalid character in the request target"},
		{"tab in target", "GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n", "invalid character in the request target"},
		{"space in target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "invalid character in the request target"},
		{"broken escape", "GET /a%zz HTTP/1.1\r\nHost: a\r\n\r\n", "malformed percent-escape in the path"},
		{"cut escape", "GET /a%4 HTTP/1.1\r\nHost: a\r\n\r\n", "malformed percent-escape in the path"},
		{"CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "method CONNECT is not supported"},
		{"HTTP/0.9", "GET /\r\n", "malformed request line"},
		{"HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", "HTTP version not supported"},
		{"HTTP/2.0 in text", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", "HTTP version not supported"},
		{"lower-case version", "GET / http/1.1\r\nHost: a\r\n\r\n", "malformed request line"},
		{"two spaces in the request line", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "malformed request target"},
		{"tab in the request line", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", "malformed request line"},
		{"space at the end", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "malformed request line"},
		{"odd method", "GE(T / HTTP/1.1\r\nHost: a\r\n\r\n", "malformed request line"},
		{"two empty lines", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "empty lines before the request line"},
		{"TLS", "\x16\x03\x01\x02\x00", "this is a plain HTTP port, and the client began with TLS"},
		{"garbage after the body", post("Content-Length: 2\r\n", "{}{}"), "malformed request line"},
		{"long target", "GET /" + strings.Repeat("a", 256) + " HTTP/1.1\r\nHost: a\r\n\r\n", "request target is too long"},
		{"endless target", "GET /" + strings.Repeat("a", 4096), "request target is too long"},
		{"long field", post("X: "+strings.Repeat("a", 2048)+"\r\n", ""), "request header fields are too large"},
		{"many fields", post(strings.Repeat("X: y\r\n", 20), ""), "too many request header fields"},
		{"forbidden announcement", post("Trailer: x, Content-Length\r\n", ""), "forbidden field in the Trailer header field"},
		{"chunk 0x10", chunked("0x10\r\n"), "malformed chunk size"},
		{"chunk +5", chunked("+5\r\nhello\r\n"), "malformed chunk size"},
		{"chunk -5", chunked("-5\r\n"), "malformed chunk size"},
		{"empty chunk size", chunked("\r\nhello"), "malformed chunk size"},
		{"space before chunk size", chunked(" 5\r\nhello"), "malformed chunk size"},
		{"space after chunk size", chunked("5 \r\nhello"), "malformed chunk size"},
		{"chunk size ends in LF", chunked("5\nhello"), "malformed chunk size"},
		{"chunk size ends in CR", chunked("5\rhello"), "malformed chunk size"},
		{"chunk overflow", chunked("10000000000000005\r\nhello"), "chunk size is too large"},
		{"chunk at 2^63", chunked("8000000000000000\r\nhello"), "chunk size is too large"},
		{"many zeros", chunked(strings.Repeat("0", 17) + "5\r\nhello"), "chunk size is too large"},
		{"chunk data too long", chunked("2\r\nhello\r\n0\r\n\r\n"), "chunk data does not end where its size says"},
		{"chunk data ends in LF", chunked("5\r\nhello\n0\r\n\r\n"), "chunk data does not end where its size says"},
		{"chunk data ends in CR X", chunked("5\r\nhello\rX0\r\n\r\n"), "chunk data does not end where its size says"},
		{"long extension", chunked("5;" + strings.Repeat("a", 64) + "\r\nhello"), "chunk extensions are too long"},
		{"many extensions", chunked(strings.Repeat("1;a=b\r\nx\r\n", 20)), "chunk extensions are too long"},
		{"LF in extension", chunked("5;a\nb\r\nhello"), "malformed chunk extension"},
		{"CR in extension", chunked("5;a\rb\r\nhello"), "malformed chunk size"},
		{"trailer smuggles length", chunked("0\r\nContent-Length: 5\r\n\r\n"), "forbidden field in the trailer section"},
		{"trailer smuggles coding", chunked("0\r\ntransfer-ENCODING: chunked\r\n\r\n"), "forbidden field in the trailer section"},
		{"trailer without colon", chunked("0\r\nGET / HTTP/1.1\r\n\r\n"), "invalid character in a trailer field"},
		{"trailer with bare LF", chunked("0\r\nX: a\n\r\n"), "invalid character in a trailer field"},
		{"trailer with bare CR", chunked("0\r\nX: a\rb\r\n\r\n"), "a trailer line ends in CR without LF"},
		{"endless trailer", chunked("0\r\n" + strings.Repeat("X: y\r\n", 1000)), "trailer section is too large"},
		{"garbage after the last chunk", chunked("0\r\n\r\n@"), "malformed request line"},
	} {
		for _, size := range []int{1, 2, 7, 1 << 20} {
			_, _, err := follow([]byte(tt.in), size)
			if err == nil || err.Message != tt.want {
				t.Errorf("%s, in pieces of %d: error %v, want %q", tt.name, size, err, tt.want)
			}
		}
	}
}

func TestPasses(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want int // requests
	}{
		{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1},
		{"GET / HTTP/1.0\r\n\r\n", 1},
		{"\r\nGET /x%2Fy?q=%zz HTTP/1.1\r\nhost: [2001:db8::1]:80\r\n\r\n", 1},
		{"GET http://A.example:80/x HTTP/1.1\r\nHost: a.example:80\r\n\r\nOPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 2},
		{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: a\r\n\r\n", 2},
		{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 1},
		{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:chunked\r\n\r\n5;x=y\r\nhello\r\n00A\r\n0123456789\r\n0\r\nX: \xe9\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 2},
		{"BREW /pot HTTP/1.1\r\nHost: a_b.example.\r\nX-Empty:\r\nX-Tab:\ta \t\r\nContent_Length: 7\r\n\r\n", 1},
	} {
		for _, size := range []int{1, 3, 1 << 20} {
			_, ends, err := follow([]byte(tt.in), size)
			if err != nil || len(ends) != tt.want {
				t.Errorf("%q in pieces of %d: %d requests, error %v, want %d", tt.in, size, len(ends), err, tt.want)
			}
		}
	}
}

// readAll parses what the guard passed as net/http's server does, and returns
// where each request ended.
func readAll(passed []byte) (ends []int, err error) {
	src := bytes.NewReader(passed)
	br := bufio.NewReader(src)
	for {
		if _, err := br.Peek(1); err != nil {
			return ends, nil //nolint:nilerr // nothing follows
		}
		req, err := http.ReadRequest(br)
		if err != nil {
			return ends, err
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return ends, err
		}
		ends = append(ends, len(passed)-src.Len()-br.Buffered())
	}
}

func FuzzGuard(f *testing.F) {
	for _, seed := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /%41 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST http://a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\nGET",
		"PUT / HTTP/1.1\r\nHost: [::1]:1\r\nTrailer: x\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
	} {
		f.Add([]byte(seed), uint8(1), uint8(7))
	}
	f.Fuzz(func(t *testing.T, in []byte, a, b uint8) { relate(t, in, int(a), int(b)) })
}

// relate checks that the guard decides the same whatever the pieces, and that
// net/http finds the same requests in what it passed.
func relate(t *testing.T, in []byte, sizes ...int) {
	t.Helper()
	whole, ends, err := follow(in, len(in)+1)
	parts, ends2, err2 := follow(in, sizes...)
	if fmt.Sprint(err) != fmt.Sprint(err2) || fmt.Sprint(ends) != fmt.Sprint(ends2) || !bytes.Equal(whole, parts) {
		t.Fatalf("whole: %q %v %v\npieces: %q %v %v", whole, ends, err, parts, ends2, err2)
	}
	if len(ends) == 0 {
		if err != nil && len(whole) > 0 && !bytes.Contains(whole, []byte("chunked")) {
			t.Fatalf("%q was passed of a request that was refused", whole)
		}
		return
	}
	complete := whole[:ends[len(ends)-1]]
	got, perr := readAll(complete)
	if perr != nil || fmt.Sprint(got) != fmt.Sprint(ends) {
		t.Fatalf("the guard passed %q as requests ending at %v; net/http sees %v, %v", complete, ends, got, perr)
	}
}

// TestGuardAgreesWithNetHTTP relates the two on requests put together from
// sound and unsound parts, which random bytes rarely are.
func TestGuardAgreesWithNetHTTP(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2)) // a fixed seed
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	heads, passed := 0, 0
	for range 100_000 {
		var b strings.Builder
		for range 1 + r.IntN(3) {
			b.WriteString(pick("", "", "", "\r\n") + pick("GET", "POST", "PUT", "OPTIONS", "X-Y") + " " +
				pick("/", "/a%2Fb?c=%", "/é", "*", "http://a", "http://a/b", "https://A:80?x", "//x", "/a\\b", "/[:]") + " " +
				pick("HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0") + "\r\n" + pick("Host: a", "Host: a", "Host: A:80", "hOST:a ") + "\r\n")
			body := ""
			switch r.IntN(4) {
			case 0:
				b.WriteString(pick("Content-Length: 5", "content-length:5", "Content-Length: 05 ") + "\r\n")
				body = pick("hello", "hello", "hell\n", "hello!")
			case 1:
				b.WriteString("Transfer-Encoding:" + pick(" ", "") + "chunked\r\n")
				for range r.IntN(4) {
					body += pick("5\r\nhello\r\n", "5;a=\"b\"\r\nhello\r\n", "00A\r\n0123456789\r\n", "a;\r\n\r\n\r\n\r\n\r\n\r\n\r\n")
				}
				body += "0" + pick("", ";x") + "\r\n" + pick("", "", "X: y\r\nZ:\r\n") + "\r\n"
			}
			for range r.IntN(4) {
				b.WriteString(pick("X: y", "X:", "Expect: 100-continue", "Connection: close", "Connection: Upgrade", "Upgrade: h2c",
					"Trailer: X", "Trailer: ,", "Cookie: a=b; c", "X-Obs: \xff", "Content_Length: 3", "Pragma: no-cache", "A-b: \t c \t") + "\r\n")
			}
			b.WriteString("\r\n" + body)
		}
		in := []byte(b.String())
		for range r.IntN(3) * r.IntN(2) { // damage
			i := r.IntN(len(in))
			c := pick("\r", "\n", " ", "\t", ":", ";", "0", ",", "\x00", "\x0b", "chunked", "5")
			in = append(append(append([]byte(nil), in[:i]...), c...), in[min(i+r.IntN(3), len(in)):]...)
		}
		relate(t, in, 1+r.IntN(9), 1+r.IntN(40))
		_, ends, _ := follow(in, len(in))
		heads++
		if len(ends) > 0 {
			passed++
		}
	}
	if passed < heads/4 || passed > heads*9/10 {
		t.Errorf("%d of %d inputs passed: the mix proves little", passed, heads)
	}
}

func BenchmarkHead(b *testing.B) {
	head := []byte("GET /v1/shelves/17/books/42?view=full HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: bench/1.0 (linux)\r\n" +
		"Accept: application/json\r\nAccept-Encoding: gzip, deflate\r\nAuthorization: Bearer abcdefghijklmnopqrstuvwxyz\r\nX-Request-Id: 0123456789\r\n\r\n")
	g := framing.NewGuard(limits())
	b.SetBytes(int64(len(head)))
	b.ReportAllocs()
	for b.Loop() {
		if _, n, err := g.Next(head); n != len(head) || err != nil {
			b.Fatal(n, err)
		}
	}
}

package rest

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	kgzip "github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/grpc/codes"

	"github.com/transomhq/transom/rpc"
)

// contentKind is what a request's body is.
type contentKind int

const (
	contentNone  contentKind = iota // there is none, or nobody reads it
	contentJSON                     // JSON text
	contentProto                    // protobuf wire format
	contentForm                     // application/x-www-form-urlencoded
	contentRaw                      // the bytes of a google.api.HttpBody
)

// content says what the body is, from the header alone: a body that will not
// be taken is refused unread.
func (x *exchange) content() (contentKind, error) {
	b, set := &x.plan.body, x.plan.set
	if x.r.Body == nil || x.r.Body == http.NoBody || x.r.ContentLength == 0 {
		return contentNone, nil
	}
	media, ok := mediaType(x.r.Header["Content-Type"])
	form := ok && media == "application/x-www-form-urlencoded" && set.form
	if b.kind == noBody && !form {
		return contentNone, x.unexpectedBody()
	}
	if x.r.ContentLength > set.maxBody {
		return contentNone, tooLarge(set.maxBody)
	}
	if !isCodings(x.r.Header["Content-Encoding"]) {
		return contentNone, unsupported("request body: Content-Encoding must be gzip or zstd, once", "Accept-Encoding", "gzip, zstd")
	}
	return x.classify(media, ok, form)
}

func (x *exchange) classify(media string, ok, form bool) (contentKind, error) {
	b, set := &x.plan.body, x.plan.set
	json := ok && (media == "" || media == "application/json" || strings.HasSuffix(media, "+json") && strings.HasPrefix(media, "application/"))
	switch {
	case b.httpBody && !(set.lax && json): // grpc-gateway reads JSON here
		return contentRaw, nil
	case json:
		return contentJSON, nil
	case ok && isProtobuf(media) && b.message != nil:
		return contentProto, nil
	case form && (b.kind == noBody || b.message != nil && !set.lax):
		return contentForm, nil
	case set.lax: // grpc-gateway's default mux reads everything as JSON
		return contentJSON, nil
	}
	types := "application/json"
	if b.message != nil {
		types += ", application/x-protobuf"
	}
	if set.form && b.message != nil {
		types += ", application/x-www-form-urlencoded"
	}
	return contentNone, unsupported("request body: its Content-Type is not supported; send "+types+" (in UTF-8)", "Accept", types)
}

// unsupported is a 415 with the header field that says what is supported (RFC
// 9110, section 15.5.16).
func unsupported(text, field, value string) error {
	e := rpc.Errorf(codes.InvalidArgument, "%s", text).WithHTTPStatus(http.StatusUnsupportedMediaType)
	e.Header = []string{field, value}
	return e
}

// unexpectedBody refuses a body that no field takes, or drops it. One of unknown length may
// still be empty, which only reading it shows.
func (x *exchange) unexpectedBody() error {
	if x.door.opts.Profile != Strict {
		// Read away, as those gateways do: until a body was read to its end,
		// net/http does not notice that the client has gone.
		if n, err := io.Copy(io.Discard, io.LimitReader(x.r.Body, x.plan.set.maxBody+1)); err != nil {
			return x.readError(err)
		} else if n > x.plan.set.maxBody {
			return tooLarge(x.plan.set.maxBody)
		}
		return nil
	}
	refusal := rpc.Errorf(codes.InvalidArgument, "request body: %s %s takes none", x.plan.binding.HTTPMethod, x.plan.binding.Template)
	if x.r.ContentLength > 0 {
		return refusal
	}
	var one [1]byte
	switch n, err := io.ReadFull(x.r.Body, one[:]); {
	case n > 0:
		return refusal
	case !errors.Is(err, io.EOF):
		return x.readError(err)
	}
	return nil
}

// mediaType returns the media type that the header's only field names, in
// lower case, "" for none. ok is false when there are several, or one that is
// malformed, or has a charset that is not UTF-8.
func mediaType(values []string) (string, bool) {
	switch {
	case len(values) == 0 || len(values) == 1 && values[0] == "":
		return "", true
	case len(values) > 1:
		return "", false
	case values[0] == "application/json":
		return values[0], true
	}
	media, params, err := mime.ParseMediaType(values[0])
	if err != nil {
		return "", false
	}
	if cs, ok := params["charset"]; ok && !strings.EqualFold(cs, "utf-8") && !strings.EqualFold(cs, "utf8") {
		return "", false
	}
	return media, true
}

func isProtobuf(media string) bool {
	switch media {
	case "application/x-protobuf", "application/proto", "application/protobuf":
		return true
	}
	return false
}

func isIdentity(coding string) bool { return coding == "" || strings.EqualFold(coding, "identity") }

// isCodings reports whether the values of Content-Encoding name no coding or
// one that can be undone. Several, which are undone in turn, are not taken.
func isCodings(values []string) bool {
	return len(values) == 0 || len(values) == 1 && (isIdentity(values[0]) || isGzip(values[0]) || strings.EqualFold(values[0], "zstd"))
}

func isGzip(coding string) bool {
	return strings.EqualFold(coding, "gzip") || strings.EqualFold(coding, "x-gzip")
}

// inflate appends the decompressed body to dst. Neither its size nor what one
// byte of it becomes may pass its limit.
func (x *exchange) inflate(dst []byte, src *countedReader, coding string) ([]byte, error) {
	limit, start := x.plan.set.maxBody, len(dst)
	bounded := &boundedReader{src: src, limit: limit}
	r, done, err := x.door.coders.reader(bounded, coding)
	if err == nil {
		defer done()
		guarded := &inflationGuard{r: r, src: src, ratio: x.door.opts.MaxInflation}
		dst, _, err = readTo(dst, guarded, limit)
	}
	switch {
	case bounded.passed, int64(len(dst)-start) > limit:
		return dst, tooLarge(limit)
	case errors.Is(err, errInflation):
		return dst, rpc.Errorf(codes.ResourceExhausted, "request body: it decompresses to more than %d times its size", x.door.opts.MaxInflation).
			WithHTTPStatus(http.StatusRequestEntityTooLarge)
	case bounded.err != nil:
		return dst, x.readError(bounded.err)
	case err != nil:
		return dst, rpc.Errorf(codes.InvalidArgument, "request body: not valid %s", strings.ToLower(coding)).WithCause(err)
	}
	return dst, nil
}

// reader returns a decompressor of r and what gives it back.
func (c *coders) reader(r io.Reader, coding string) (io.Reader, func(), error) {
	if isGzip(coding) {
		z := c.gzipReaders.Get().(*kgzip.Reader)
		if err := z.Reset(r); err != nil {
			c.gzipReaders.Put(z)
			return nil, nil, err
		}
		return z, func() { c.gzipReaders.Put(z) }, nil
	}
	z, ok := c.zstdReaders.Get().(*zstd.Decoder)
	if !ok {
		return nil, nil, errors.New("no zstd decoder")
	}
	if err := z.Reset(r); err != nil {
		return nil, nil, err
	}
	return z, func() {
		if z.Reset(nil) == nil {
			c.zstdReaders.Put(z)
		}
	}, nil
}

var errInflation = errors.New("inflates too much")

// inflationFree is how much a body may inflate to whatever its ratio: short
// bodies of repeated text are harmless.
const inflationFree = 64 << 10

// inflationGuard stops reading when what came out is too much for what went in.
type inflationGuard struct {
	r     io.Reader
	src   *countedReader
	ratio int64
	out   int64
}

func (g *inflationGuard) Read(p []byte) (int, error) {
	n, err := g.r.Read(p)
	g.out += int64(n)
	if g.out > inflationFree && g.out > g.src.n*g.ratio {
		return n, errInflation
	}
	return n, err
}

// boundedReader fails when more than limit compressed bytes come, and keeps
// errors of the client's connection apart from those of the decompressor.
type boundedReader struct {
	src    *countedReader
	limit  int64
	passed bool
	err    error
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.src.n > b.limit {
		b.passed = true
		return 0, io.ErrUnexpectedEOF
	}
	n, err := b.src.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

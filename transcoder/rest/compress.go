package rest

import (
	"bytes"
	"net/http"
	"strings"

	kgzip "github.com/klauspost/compress/gzip"
)

// compress returns body compressed, where that pays and the client can read
// it, and what gives the memory back.
func (x *exchange) compress(h http.Header, media string, body []byte) ([]byte, func()) {
	least := x.door.opts.CompressMin
	if least < 0 || len(body) < least || len(h["Content-Encoding"]) > 0 || isCompressed(media) {
		return body, func() {}
	}
	h["Vary"] = append(h["Vary"], "Accept-Encoding")
	if !acceptsGzip(x.r.Header["Accept-Encoding"]) {
		return body, func() {}
	}
	z, ok := x.door.coders.gzipWriters.Get().(*kgzip.Writer)
	if !ok {
		return body, func() {}
	}
	buf := x.door.pool.get()
	out := bytes.NewBuffer(*buf)
	z.Reset(out)
	_, err := z.Write(body)
	if err == nil {
		err = z.Close()
	}
	z.Reset(nil)
	x.door.coders.gzipWriters.Put(z)
	*buf = out.Bytes()
	done := func() { x.door.pool.Put(buf) }
	if err != nil || out.Len() >= len(body) {
		return body, done
	}
	h["Content-Encoding"] = []string{"gzip"}
	return *buf, done
}

// acceptsGzip reads Accept-Encoding (RFC 9110, section 12.5.3).
func acceptsGzip(values []string) bool {
	star := false
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			name, params, _ := strings.Cut(part, ";")
			switch name = strings.TrimSpace(name); {
			case isGzip(name):
				return quality(params) > 0
			case name == "*":
				star = quality(params) > 0
			}
		}
	}
	return star
}

// isCompressed reports whether the content of a media type is compressed already.
func isCompressed(media string) bool {
	media, _, _ = strings.Cut(strings.ToLower(media), ";")
	media = strings.TrimSpace(media)
	kind, sub, _ := strings.Cut(media, "/")
	switch kind {
	case "audio", "video":
		return true
	case "image":
		return sub != "svg+xml" && sub != "bmp"
	case "font":
		return sub == "woff" || sub == "woff2"
	}
	switch sub {
	case "gzip", "x-gzip", "zip", "zstd", "x-7z-compressed", "x-rar-compressed", "vnd.rar", "x-bzip2", "x-xz", "java-archive", "pdf", "epub+zip":
		return true
	}
	return strings.HasSuffix(sub, "+zip") || strings.HasPrefix(sub, "vnd.openxmlformats-")
}

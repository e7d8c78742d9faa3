package traffic

import (
	"strings"

	"google.golang.org/grpc/metadata"

	"github.com/transomhq/transom/rpc"
)

// Sticky is what keeps a caller's calls in the same subset. The zero value
// keeps nothing.
type Sticky struct {
	// Principal is who calls.
	Principal bool
	// Header is a metadata key, Cookie the name of a cookie.
	Header, Cookie string
}

// key returns what the call is kept together by.
func (s *Sticky) key(md metadata.MD, who *rpc.Principal) key {
	switch {
	case s.Principal && who != nil:
		return key{a: who.Issuer, b: who.Subject}
	case s.Header != "":
		if values := md[s.Header]; len(values) > 0 && values[0] != "" {
			return key{a: values[0]}
		}
	case s.Cookie != "":
		for _, line := range md["cookie"] {
			if value := cookie(line, s.Cookie); value != "" {
				return key{a: value}
			}
		}
	}
	return key{none: true}
}

// cookie returns the value of a cookie in a Cookie field (RFC 6265, section 4.2.1).
func cookie(line, name string) string {
	for line != "" {
		var pair string
		pair, line, _ = strings.Cut(line, ";")
		if n, v, ok := strings.Cut(strings.TrimSpace(pair), "="); ok && n == name {
			return strings.Trim(v, `"`)
		}
	}
	return ""
}

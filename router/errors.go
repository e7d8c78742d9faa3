package router

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	"github.com/transomhq/transom/router/httprule"
	"github.com/transomhq/transom/rpc"
)

func errNotFound(httpMethod, path string) *rpc.Error {
	hint := ""
	if strings.HasSuffix(path, "/") && path != "/" {
		hint = `: the path ends with "/"`
	}
	return rpc.Errorf(codes.NotFound, "no route for %s %s%s", safeMethod(httpMethod), safePath(path), hint).
		WithHTTPStatus(http.StatusNotFound).WithDetails(info("ROUTE_NOT_FOUND"))
}

func errWrongMethod(httpMethod, path string, allow []string, status int) *rpc.Error {
	e := rpc.Errorf(codes.Unimplemented, "%s is not allowed for %s: use %s", safeMethod(httpMethod), safePath(path), anyOf(allow)).
		WithHTTPStatus(status).WithDetails(info("METHOD_NOT_ALLOWED"))
	e.Header = []string{"Allow", strings.Join(allow, ", ")}
	return e
}

func errBadPath(v verdict, offset int) *rpc.Error {
	text, status := "", http.StatusBadRequest
	switch v {
	case noSlash:
		text = `it must start with "/"`
	case badEscape:
		text = fmt.Sprintf(`malformed percent-escape at byte %d: "%%" and two hexadecimal digits are needed`, offset)
	case badNUL:
		text = fmt.Sprintf("NUL at byte %d", offset)
	case badUTF8:
		text = fmt.Sprintf("bytes that are not UTF-8 at byte %d", offset)
	case emptySegment:
		text = fmt.Sprintf(`empty segment ("//") at byte %d`, offset-1)
	case dotSegment:
		text = fmt.Sprintf(`"." or ".." segment at byte %d: send the path resolved`, offset)
	case tooManySegments:
		text = fmt.Sprintf("more than %d segments", httprule.MaxSegments)
	case tooLong:
		text, status = fmt.Sprintf("longer than %d bytes", maxPath), http.StatusRequestURITooLong
	}
	return rpc.Errorf(codes.InvalidArgument, "invalid path: %s", text).
		WithHTTPStatus(status).
		WithDetails(info("INVALID_PATH"))
}

func info(reason string) *errdetails.ErrorInfo {
	return &errdetails.ErrorInfo{Reason: reason, Domain: "transom"}
}

// anyOf returns "GET, HEAD or POST". OPTIONS is no way to do what was asked.
func anyOf(methods []string) string {
	var names []string
	for _, m := range methods {
		if m != http.MethodOptions {
			names = append(names, m)
		}
	}
	switch len(names) {
	case 0:
		return http.MethodOptions
	case 1:
		return names[0]
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// safeMethod returns an HTTP method as an error text may repeat it.
func safeMethod(m string) string {
	const limit = 24
	if m == "" || len(m) > limit {
		return "this HTTP method"
	}
	for i := range len(m) {
		if !httprule.IsUnreserved(m[i]) {
			return strconv.QuoteToASCII(m)
		}
	}
	return m
}

// safePath returns an escaped path as an error text may repeat it: printable
// ASCII of bounded length that no text format reads as markup.
func safePath(path string) string {
	const limit = 128
	var b strings.Builder
	for i := range len(path) {
		if b.Len() >= limit {
			b.WriteString("...")
			break
		}
		switch c := path[i]; {
		case c == '/' || c == '%' || httprule.IsPathChar(c) && c != '\'' && c != '&':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

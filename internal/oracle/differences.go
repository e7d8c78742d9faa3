package oracle

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
)

// Difference is something in which the gateway differs from grpc-gateway on
// purpose, even in the profile that exists to be like it.
type Difference struct {
	Name   string
	Reason string
	// Explains reports whether the difference is why the pair mismatches so.
	Explains func(p *Pair, m Mismatch) bool
	// Chance says that grpc-gateway itself answers so only now and then.
	Chance bool
}

// Differences are all of them. A test fails when one no longer explains anything.
func Differences() []Difference {
	return slices.Concat(headerDifferences(), pathDifferences(), queryDifferences(), bodyDifferences())
}

// headerDifferences are about header fields and trailers.
func headerDifferences() []Difference {
	return []Difference{
		{
			Name: "hop-header",
			Reason: "grpc-gateway hands the content type of its own connection to upstream to the client, as Grpc-Metadata-Content-Type: " +
				"it says nothing about the answer, and connection headers never cross the gateway",
			Explains: func(_ *Pair, m Mismatch) bool { return strings.HasSuffix(m.Aspect, "-Content-Type") },
		},
		{
			Name: "binary-header",
			Reason: "grpc-gateway writes the bytes of -bin metadata into the response header as they are, which breaks the response if they are not text; " +
				"they are base64 here, as gRPC itself writes them and as grpc-gateway expects them in requests",
			Explains: func(_ *Pair, m Mismatch) bool {
				raw, encoded := strings.Trim(m.Oracle, "[]"), strings.Trim(m.Transom, "[]")
				text, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(encoded, "="))
				return strings.HasSuffix(m.Aspect, "-Bin") && err == nil && string(text) == raw
			},
		},
		{
			Name: "broken-trailer",
			Reason: "with TE: trailers, grpc-gateway sends the bytes of grpc-status-details-bin as they are, which breaks the response; " +
				"the details are in the body",
			Explains: func(p *Pair, m Mismatch) bool {
				return p.Oracle.Broken != nil && (m.Aspect == "broken" || strings.HasPrefix(m.Aspect, "trailer "))
			},
		},
		{
			Name:   "deadline-policy",
			Reason: "the deadline options of the shop's protos give calls a deadline and bound the client's own; grpc-gateway knows no such options",
			Explains: func(p *Pair, m Mismatch) bool {
				if m.Aspect != "timeout" {
					return false
				}
				oracle, transom := p.Oracle.Calls[0].Timeout, p.Transom.Calls[0].Timeout
				return transom > 0 && (oracle == 0 || transom < oracle)
			},
		},
		{
			Name:   "challenge",
			Reason: "the WWW-Authenticate of a 401 is a challenge (RFC 9110, section 11.6.1); grpc-gateway writes the status message there",
			Explains: func(p *Pair, m Mismatch) bool {
				return m.Aspect == "header Www-Authenticate" && p.Transom.Status == 401
			},
		},
		{
			Name:   "own-name",
			Reason: "allowed request header fields also reach upstream under their own name, not only as grpcgateway-NAME",
			Explains: func(p *Pair, m Mismatch) bool {
				name, ok := strings.CutPrefix(m.Aspect, "metadata ")
				return ok && m.Oracle == "[]" && m.Transom == fmt.Sprint(p.Header.Values(name))
			},
		},
		{
			Name:   "untyped-bytes",
			Reason: "HttpBody without a content type is application/octet-stream; grpc-gateway sends an empty Content-Type",
			Explains: func(_ *Pair, m Mismatch) bool {
				return m.Aspect == "header Content-Type" && m.Oracle == "[]" && m.Transom == "[application/octet-stream]"
			},
		},
	}
}

// pathDifferences are about paths and HTTP methods.
func pathDifferences() []Difference {
	return []Difference{
		{
			Name:   "refused-path",
			Reason: "empty, \".\" and \"..\" segments and NUL in a path are refused (400) before routing, so that no policy sees another path than the backend; grpc-gateway routes them as names",
			Explains: func(p *Pair, _ Mismatch) bool {
				return strings.Contains(string(p.Transom.Body), `"message":"invalid path`)
			},
		},
		{
			Name:   "encoded-slash",
			Reason: "%2F is a character of a value; grpc-gateway decodes the path before it cuts it at slashes",
			Explains: func(p *Pair, _ Mismatch) bool {
				return strings.Contains(p.Path, "%2F") && (p.Oracle.Status == 404 || p.Oracle.Status == 501) && p.Oracle.refused()
			},
		},
		{
			Name:   "escaped-verb",
			Reason: "%3A is a character of a name, never the colon before a verb; grpc-gateway decodes the path before it looks",
			Explains: func(p *Pair, _ Mismatch) bool {
				return strings.Contains(p.Path, "%3A") && p.Transom.refused() && (p.Transom.Status == 404 || p.Transom.Status == 501)
			},
		},
		{
			Name: "form-for-one-of-many",
			Reason: "grpc-gateway takes the POST of a form for the GET of its path, unless it looks at another method of that path first, " +
				"in the random order of a map, and answers 501; here it is always the GET",
			Explains: func(p *Pair, _ Mismatch) bool {
				return p.Case.Kind == "method: form instead of GET" && p.Oracle.Status == 501
			},
			Chance: true,
		},
		{
			Name:   "known-verb",
			Reason: "a verb that the path has for one HTTP method is a verb for all; for the others grpc-gateway takes it for a part of the name",
			Explains: func(p *Pair, m Mismatch) bool {
				return m.Aspect == "calls" && strings.Contains(p.Path, ":") && p.Transom.refused() && p.Transom.Status == 501
			},
		},
		{
			Name:   "empty-value",
			Reason: "a path variable is never empty: 404; grpc-gateway binds \"\"",
			Explains: func(p *Pair, _ Mismatch) bool {
				return strings.HasSuffix(strings.TrimSuffix(p.Path, ":archive"), "/") && p.Transom.refused() && p.Transom.Status == 404
			},
		},
		{
			Name:   "zero-segments",
			Reason: "** matches zero segments (google/api/http.proto); grpc-gateway wants one at least behind a literal",
			Explains: func(p *Pair, m Mismatch) bool {
				return m.Aspect == "calls" && strings.HasSuffix(p.Path, "/images") && p.Oracle.refused()
			},
		},
		{
			Name:     "head",
			Reason:   "HEAD on a GET route is answered like GET without the body (RFC 9110, section 9.3.2); grpc-gateway answers 501",
			Explains: func(p *Pair, _ Mismatch) bool { return p.Method == "HEAD" && p.Oracle.Status == 501 },
		},
		{
			Name:     "options",
			Reason:   "OPTIONS on a known path is answered with its methods (RFC 9110, section 9.3.7); grpc-gateway answers 501",
			Explains: func(p *Pair, _ Mismatch) bool { return p.Method == "OPTIONS" && p.Transom.Header.Get("Allow") != "" },
		},
	}
}

// queryDifferences are about the query.
func queryDifferences() []Difference {
	return []Difference{
		{
			Name:     "path-wins",
			Reason:   "a field that the path binds cannot be set again from query or body; grpc-gateway ignores it, and what it ignores differs by spelling and place",
			Explains: refusal("the path binds"),
		},
		{
			Name:     "malformed-escape",
			Reason:   "malformed percent-encoding in the query is refused; grpc-gateway does so only where the method has query parameters",
			Explains: refusal("malformed percent-encoding"),
		},
		{
			Name:   "semicolon",
			Reason: "a semicolon in a query is a character like others (WHATWG URL); grpc-gateway inherits from net/http that it is an error, where the method has query parameters",
			Explains: func(p *Pair, m Mismatch) bool {
				return m.Aspect == "calls" && strings.Contains(m.Oracle, "semicolon") && !p.Transom.refused()
			},
		},
		{
			Name:   "utf-8",
			Reason: "text that is not UTF-8 is refused where it is read; grpc-gateway replaces it in bare strings, and fails with 500 in the query",
			Explains: func(p *Pair, _ Mismatch) bool {
				return p.Transom.refused() && p.Transom.Status == 400 && strings.Contains(string(p.Transom.Body), "UTF-8")
			},
		},
		{
			Name:     "one-spelling",
			Reason:   "a field that is set under its two names at once is refused; which of them wins in grpc-gateway changes from call to call",
			Explains: refusal("set more than once"),
		},
		{
			Name:   "whole-and-part",
			Reason: "a field mask that is set whole and by its paths is refused; what grpc-gateway makes of it changes from call to call",
			Explains: func(p *Pair, _ Mismatch) bool {
				return p.Transom.refused() && strings.Contains(string(p.Transom.Body), "set as a whole and in parts")
			},
		},
		{
			Name:     "below-the-body",
			Reason:   "a query parameter that goes below a list or map cannot be meant and is refused; grpc-gateway does so, too, unless the field is the body's",
			Explains: refusal("goes below a field that is not a message"),
		},
		{
			Name:   "unpadded-bytes",
			Reason: "bytes in the query may leave out the padding of base64, as in JSON; grpc-gateway wants it",
			Explains: func(p *Pair, m Mismatch) bool {
				return m.Aspect == "calls" && strings.Contains(m.Oracle, "illegal base64") && !p.Transom.refused()
			},
		},
		{
			Name:   "long-duration",
			Reason: "durations have the range of google.protobuf.Duration, 10,000 years; grpc-gateway's end where Go's do, at 292",
			Explains: func(p *Pair, m Mismatch) bool {
				return m.Aspect == "calls" && p.Oracle.refused() && strings.Contains(m.Oracle, "time: invalid duration")
			},
		},
		{
			Name:   "line-break-in-key",
			Reason: "a map key in the query may hold a line break; grpc-gateway takes such a parameter for an unknown one",
			Explains: func(p *Pair, m Mismatch) bool {
				return m.Aspect == "message" && strings.Contains(p.Query, "%0A") && strings.Contains(p.Query, "%5D=")
			},
		},
	}
}

// bodyDifferences are about the body, and what is made from it.
func bodyDifferences() []Difference {
	return []Difference{
		{
			Name:     "one-value",
			Reason:   "a body is one JSON value; grpc-gateway reads the first and ignores the rest",
			Explains: refusal("after the value"),
		},
		{
			Name:     "one-key",
			Reason:   "a key that a JSON object has twice is refused; grpc-gateway does so for messages, and lets the last one win in maps that are the whole body",
			Explains: refusal("duplicate map key"),
		},
		{
			Name:   "null-body",
			Reason: "the body null leaves a message unset; grpc-gateway does so for lists, maps and scalars, and refuses it for messages",
			Explains: func(p *Pair, m Mismatch) bool {
				return m.Aspect == "calls" && string(p.Body) == "null" && strings.Contains(m.Oracle, "unexpected token null")
			},
		},
		{
			Name:     "null-in-map",
			Reason:   "null is no value of a map (ProtoJSON); grpc-gateway takes it for an empty one in maps and lists that are the whole body",
			Explains: refusal(`null"`),
		},
		{
			Name:   "raw-upload",
			Reason: "a body for google.api.HttpBody is the bytes themselves unless it is JSON; grpc-gateway reads JSON whatever the content type says",
			Explains: func(p *Pair, m Mismatch) bool {
				return (m.Aspect == "message" || m.Aspect == "calls") && p.Method == "PUT" && strings.Contains(p.Path, "/images/") &&
					(len(p.Body) == 0 || strings.HasPrefix(p.Header.Get("Content-Type"), "text/"))
			},
		},
		{
			Name:   "patch-unknown-member",
			Reason: "unknown members of a PATCH body are ignored as in every other body; grpc-gateway refuses them when it makes the mask",
			Explains: func(p *Pair, m Mismatch) bool {
				return m.Aspect == "calls" && p.Method == "PATCH" && strings.Contains(m.Oracle, "could not find field")
			},
		},
		{
			Name:     "mask-of-nothing",
			Reason:   "the mask of an empty PATCH body, or of an empty object in it, names what was sent; grpc-gateway names a field \"\", or forgets the object",
			Explains: emptyMask,
		},
		{
			Name:   "mask-in-parts",
			Reason: "a mask that the client gives is the mask; grpc-gateway adds update_mask.paths of the query to the mask that it makes from the body",
			Explains: func(p *Pair, m Mismatch) bool {
				return m.Aspect == "message" && p.Method == "PATCH" && strings.Contains(p.Query, "update_mask.paths=")
			},
		},
		{
			Name:   "unknown-detail",
			Reason: "an error detail of a type that nobody knows is rendered as base64; grpc-gateway then answers 500 in place of the real error",
			Explains: func(p *Pair, _ Mismatch) bool {
				return strings.Contains(string(p.Oracle.Body), "failed to marshal error message")
			},
		},
	}
}

// refusal explains that only the gateway refuses a request, with a text that contains words.
func refusal(words string) func(*Pair, Mismatch) bool {
	return func(p *Pair, m Mismatch) bool {
		return m.Aspect == "calls" && p.Transom.refused() && p.Transom.Status == 400 && strings.Contains(string(p.Transom.Body), words)
	}
}

// emptyMask explains a message that differs in nothing but its mask, where the
// body holds an empty object.
func emptyMask(p *Pair, m Mismatch) bool {
	if m.Aspect != "message" || p.Method != "PATCH" || !strings.Contains(string(p.Body), "{}") {
		return false
	}
	oracle, transom := proto.Clone(p.Oracle.Calls[0].Messages[0]), proto.Clone(p.Transom.Calls[0].Messages[0])
	clearPath(oracle, "update_mask")
	clearPath(transom, "update_mask")
	return proto.Equal(oracle, transom)
}

// Explain returns the name of the difference that explains a mismatch, or "".
func Explain(differences []Difference, p *Pair, m Mismatch) string {
	for _, d := range differences {
		if d.Explains(p, m) {
			return d.Name
		}
	}
	return ""
}

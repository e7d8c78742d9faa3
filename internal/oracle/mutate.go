package oracle

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// mutation changes a valid case. It reports false if the case has nothing that
// it could change.
type mutation struct {
	kind  string
	apply func(g *generator, c *Case, b *binding) bool
}

// mutate applies one mutation, chosen so that each part of a request gets its share.
func (g *generator) mutate(c *Case, b *binding) {
	for {
		m := pick(g.random, pick(g.random, pathMutations(), queryMutations(), bodyMutations(), headerMutations())...)
		if m.apply(g, c, b) {
			c.Kind = m.kind
			return
		}
	}
}

// edit makes a mutation of a function from text to text.
func editPath(kind string, f func(path string) string) mutation {
	return mutation{"path: " + kind, func(_ *generator, c *Case, _ *binding) bool {
		path := f(c.Path)
		if path == c.Path {
			return false
		}
		c.Path = path
		return true
	}}
}

func pathMutations() []mutation {
	last := func(path string) int { return strings.LastIndexByte(path, '/') + 1 }
	return []mutation{
		editPath("trailing slash", func(p string) string { return p + "/" }),
		editPath("doubled slash", func(p string) string { return "/" + strings.Replace(p[1:], "/", "//", 1) }),
		editPath("leading double slash", func(p string) string { return "/" + p }),
		editPath("dot segment", func(p string) string { return p[:last(p)] + "./" + p[last(p):] }),
		editPath("dot-dot segment", func(p string) string { return p[:last(p)] + "x/../" + p[last(p):] }),
		editPath("escaped dot-dot segment", func(p string) string { return p[:last(p)] + "%2e%2e/" + p[last(p):] }),
		editPath("last segment missing", func(p string) string { return p[:last(p)-1] }),
		editPath("last segment empty", func(p string) string { return p[:last(p)] }),
		editPath("one segment more", func(p string) string { return p + "/more" }),
		editPath("other version", func(p string) string { return strings.Replace(p, "/v1/", "/v2/", 1) }),
		editPath("capitals in a literal", func(p string) string { return strings.Replace(p, "/v1/", "/V1/", 1) }),
		editPath("escaped literal", func(p string) string { return strings.Replace(p, "/v1/", "/%761/", 1) }),
		editPath("unknown verb", func(p string) string { return p + ":brew" }),
		editPath("verb missing", func(p string) string {
			if i := strings.LastIndexByte(p, ':'); i > 0 {
				return p[:i]
			}
			return p
		}),
		editPath("escaped colon before the verb", func(p string) string {
			if i := strings.LastIndexByte(p, ':'); i > 0 {
				return p[:i] + "%3A" + p[i+1:]
			}
			return p
		}),
		{"path: value replaced", replaceValue},
	}
}

// replaceValue puts something difficult where a variable of one segment is.
func replaceValue(g *generator, c *Case, b *binding) bool {
	segments := strings.Split(strings.TrimPrefix(c.Path, "/"), "/")
	i := 0
	for _, p := range b.parts {
		if p.field == "" {
			i++
			continue
		}
		for j, pattern := range p.pattern {
			if pattern != "*" || i+j >= len(segments) {
				continue
			}
			segments[i+j] = pick(g.random, "a%2Fb", "a%252Fb", "100%25", "%20", "a:b", "a%3Ab", ":", "-1", "0", "1.0", "1e3", "+7", "99999999999999999999", "x", "a%00b",
				"%ff", "%c3%bc", "a+b", "%2B", "~u", "%7Eu", "...", "*", "%2A", "1%20", "PRODUCT_STATUS_DRAFT", "ORDER_STATE_PAID", "order_state_paid", "2", "300")
			if i+j == len(segments)-1 && b.verb != "" {
				segments[i+j] += ":" + b.verb
			}
			c.Path = "/" + strings.Join(segments, "/")
			return true
		}
		i += len(p.pattern)
	}
	return false
}

// addQuery makes a mutation that adds a piece to the query as it stands.
func addQuery(kind, piece string) mutation {
	return mutation{"query: " + kind, func(_ *generator, c *Case, b *binding) bool {
		if b.method.IsStreamingClient() {
			return false
		}
		if c.Query != "" {
			c.Query += "&"
		}
		c.Query += piece
		return true
	}}
}

func queryMutations() []mutation {
	return []mutation{
		addQuery("unknown parameter", "no_such_field=1"),
		addQuery("unknown nested parameter", "no.such.field=1"),
		addQuery("system parameter", "%24alt=json"),
		addQuery("mask by its paths", "update_mask.paths=title"),
		addQuery("semicolon", "a=1;b=2"),
		addQuery("malformed escape", "x=%zz"),
		addQuery("empty piece", "&&"),
		addQuery("name only", "name_only"),
		{"query: parameter twice", repeatParameter},
		{"query: value replaced", replaceParameter},
		{"query: field of the path again, same value", boundParameter},
		{"query: field set from the query", fieldParameter},
		{"query: two members of a oneof", oneofParameters},
	}
}

func repeatParameter(g *generator, c *Case, _ *binding) bool {
	if c.Query == "" {
		return false
	}
	c.Query += "&" + pick(g.random, strings.Split(c.Query, "&")...)
	return true
}

func replaceParameter(g *generator, c *Case, _ *binding) bool {
	pieces := strings.Split(c.Query, "&")
	i := g.IntN(len(pieces))
	name, _, ok := strings.Cut(pieces[i], "=")
	if !ok {
		return false
	}
	pieces[i] = name + "=" + pick(g.random, difficultValues()...)
	c.Query = strings.Join(pieces, "&")
	return true
}

func difficultValues() []string {
	return []string{
		"", "1", "-1", "0", "1.0", "1e3", "+1", "%201", "1%20", "0x1F", "99999999999999999999", "9223372036854775807", "-9223372036854775808", "2147483648", "1_000", "NaN", "Infinity", "inf", "1e400", ".5",
		"true", "false", "TRUE", "t", "yes", "PRODUCT_STATUS_DRAFT", "ORDER_STATE_PAID", "draft", "77", "YQ", "YQ==", "-_8=", "%2B%2F8%3D", "!!!", "null", "a+b", "a%2Bb", "%C3%BC", "%ff",
		"2026-11-21T03:06:08Z", "2026-11-21T03:06:08.123456789%2B01:00", "2026-11-21", "2026-13-01T00:00:00Z", "1.5s", "3s", "1h30m", "title,price_minor", "priceMinor", "no_such", "%22quoted%22", "{}",
	}
}

// boundParameter says in the query what the path says already.
func boundParameter(_ *generator, c *Case, b *binding) bool {
	segments := strings.Split(strings.TrimPrefix(c.Path, "/"), "/")
	for i, p := range b.parts {
		if p.field == "" || len(p.pattern) != 1 || i >= len(segments) || b.method.IsStreamingClient() {
			continue
		}
		value, err := url.PathUnescape(strings.TrimSuffix(segments[i], ":"+b.verb))
		if err != nil {
			return false
		}
		if c.Query != "" {
			c.Query += "&"
		}
		c.Query += encode([]parameter{{p.field, value}})
		return true
	}
	return false
}

// fieldParameter sets any scalar field of the request in the query.
func fieldParameter(g *generator, c *Case, b *binding) bool {
	fields := b.method.Input().Fields()
	if fields.Len() == 0 || b.method.IsStreamingClient() {
		return false
	}
	field := fields.Get(g.IntN(fields.Len()))
	path := string(field.Name())
	if field.Message() != nil && !field.IsMap() && field.Message().Fields().Len() > 0 {
		field = field.Message().Fields().Get(g.IntN(field.Message().Fields().Len()))
		path += "." + string(field.Name())
	}
	if field.IsMap() {
		path += "[" + pick(g.random, "k", "", "7", "a.b") + "]"
	}
	if c.Query != "" {
		c.Query += "&"
	}
	c.Query += url.QueryEscape(path) + "=" + pick(g.random, difficultValues()...)
	return true
}

// oneofParameters sets two members of one oneof anywhere in the request.
func oneofParameters(g *generator, c *Case, b *binding) bool {
	pairs := []string{}
	collectOneofs(b.method.Input(), "", 0, &pairs)
	if len(pairs) == 0 || b.method.IsStreamingClient() {
		return false
	}
	if c.Query != "" {
		c.Query += "&"
	}
	c.Query += pick(g.random, pairs...)
	return true
}

func collectOneofs(m protoreflect.MessageDescriptor, prefix string, depth int, pairs *[]string) {
	for i := range m.Oneofs().Len() {
		oneof := m.Oneofs().Get(i)
		var pieces []string
		for j := range oneof.Fields().Len() {
			field := oneof.Fields().Get(j)
			if text, ok := simpleText(field); ok {
				pieces = append(pieces, prefix+string(field.Name())+"="+text)
			}
		}
		if !oneof.IsSynthetic() && len(pieces) > 1 {
			*pairs = append(*pairs, pieces[0]+"&"+pieces[1])
		}
	}
	for i := range m.Fields().Len() {
		field := m.Fields().Get(i)
		if field.Message() != nil && !field.IsList() && !field.IsMap() && depth < maxDepth {
			collectOneofs(field.Message(), prefix+string(field.Name())+".", depth+1, pairs)
		}
	}
}

func simpleText(field protoreflect.FieldDescriptor) (string, bool) {
	switch field.Kind() {
	case protoreflect.BoolKind:
		return "true", true
	case protoreflect.StringKind:
		return "x", true
	case protoreflect.Int32Kind, protoreflect.Uint32Kind, protoreflect.DoubleKind, protoreflect.Uint64Kind:
		return "1", true
	default:
		return "", false
	}
}

// editBody makes a mutation of a function from body to body.
func editBody(kind string, f func(g *generator, body []byte) []byte) mutation {
	return mutation{"body: " + kind, func(g *generator, c *Case, b *binding) bool {
		if b.body == "" {
			return false
		}
		body := f(g, c.Body)
		if body != nil && bytes.Equal(body, c.Body) {
			return false
		}
		c.Body = body
		return true
	}}
}

func bodyMutations() []mutation {
	constant := func(text string) func(*generator, []byte) []byte {
		return func(*generator, []byte) []byte { return []byte(text) }
	}
	return []mutation{
		editBody("none", func(*generator, []byte) []byte { return nil }),
		editBody("spaces only", constant("  \n")),
		editBody("null", constant("null")),
		editBody("empty object", constant("{}")),
		editBody("empty list", constant("[]")),
		editBody("null inside", constant(`{"k":null}`)),
		editBody("a word", constant("tea")),
		editBody("a string", constant(`"tea"`)),
		editBody("a number", constant("7")),
		editBody("cut off", func(g *generator, body []byte) []byte { return body[:g.IntN(len(body)+1)] }),
		editBody("more after the value", func(_ *generator, body []byte) []byte { return append(bytes.Clone(body), " {}"...) }),
		editBody("rubbish after the value", func(_ *generator, body []byte) []byte { return append(bytes.Clone(body), " x"...) }),
		editBody("not UTF-8", func(_ *generator, body []byte) []byte { return bytes.Replace(body, []byte(`"`), []byte("\"\xff"), 1) }),
		editBody("byte order mark", func(_ *generator, body []byte) []byte { return append([]byte("\xef\xbb\xbf"), body...) }),
		editBody("indented", func(_ *generator, body []byte) []byte {
			var b bytes.Buffer
			if json.Indent(&b, body, "\t", "  ") != nil {
				return bytes.Clone(body)
			}
			return b.Bytes()
		}),
		editBody("unknown member", addMember(`"noSuchField":{"a":[1,2]}`)),
		editBody("member of wrong type", addMember(`"note":{}`, `"title":7`, `"priceMinor":"x"`, `"items":{}`, `"labels":[]`, `"status":"NO_SUCH_STATUS"`, `"createTime":"yesterday"`, `"sku":true`)),
		editBody("unusual form", addMember(`"priceMinor":"7"`, `"priceMinor":7`, `"priceMinor":7.0`, `"price_minor":1e3`, `"totalMinor":null`, `"status":2`, `"status":null`, `"state":"ORDER_STATE_PAID"`,
			`"note":null`, `"imageDigest":"-_8"`, `"imageDigest":"+/8="`, `"leadTime":"1.500s"`, `"createTime":"2026-11-21T03:06:08+01:00"`, `"discount":"0.5"`, `"discount":"NaN"`, `"experiment":null`,
			`"gift":true`, `"gtin":"","maxPerOrder":0`, `"readMask":"title,priceMinor"`, `"tags":null`, `"items":[{}]`)),
		editBody("member twice", addMember(`"title":"a","title":"b"`, `"note":"a","note":"b"`, `"query":"a","query":"b"`, `"reason":"x","reason":"y"`)),
		editBody("member under two names", addMember(`"priceMinor":"1","price_minor":"2"`, `"totalMinor":"1","total_minor":"2"`)),
		editBody("two members of a oneof", addMember(`"boxType":1,"originalPackage":"x"`, `"voucherCode":"x","otherwise":true`, `"toSource":true,"asVoucherBonus":0.1`)),
		editBody("fields of the path", addMember(`"name":"products/other"`, `"id":"o-2"`, `"orderId":"o-2"`, `"order_id":"o-2"`)),
	}
}

// addMember adds one of the members to the outermost object.
func addMember(members ...string) func(*generator, []byte) []byte {
	return func(g *generator, body []byte) []byte {
		if len(body) < 2 || body[0] != '{' {
			return bytes.Clone(body)
		}
		member := pick(g.random, members...)
		if bytes.Equal(body, []byte("{}")) {
			return []byte("{" + member + "}")
		}
		return append([]byte("{"+member+","), body[1:]...)
	}
}

// setHeader makes a mutation that sets header fields: name, value pairs.
func setHeader(kind string, pairs ...string) mutation {
	return mutation{"header: " + kind, func(_ *generator, c *Case, _ *binding) bool {
		for i := 0; i < len(pairs); i += 2 {
			c.Header.Add(pairs[i], pairs[i+1])
		}
		return true
	}}
}

func setMethod(method string) mutation {
	return mutation{"method: " + method, func(_ *generator, c *Case, _ *binding) bool {
		if c.Method == method {
			return false
		}
		c.Method = method
		return true
	}}
}

func headerMutations() []mutation {
	return []mutation{
		setHeader("metadata", "Grpc-Metadata-Shop", "1", "Grpc-Metadata-Shop", "two"),
		setHeader("binary metadata", "Grpc-Metadata-Blob-Bin", "AP9+"),
		setHeader("binary metadata without padding", "Grpc-Metadata-Blob-Bin", "AP8"),
		setHeader("malformed binary metadata", "Grpc-Metadata-Blob-Bin", "!!"),
		setHeader("metadata that is not ASCII", "Grpc-Metadata-Name", "Grüße"),
		setHeader("permanent fields", "Accept-Language", "nl", "Cookie", "a=b", "Referer", "http://example.com/", "If-Match", "\"7\"", "User-Agent", "tea"),
		setHeader("authorization", "Authorization", "Bearer tea"),
		setHeader("other field", "X-Tea", "green"),
		setHeader("timeout in seconds", "Grpc-Timeout", "20S"),
		setHeader("timeout in milliseconds", "Grpc-Timeout", "15000m"),
		setHeader("malformed timeout", "Grpc-Timeout", "soon"),
		setHeader("negative timeout", "Grpc-Timeout", "-5S"),
		setHeader("trailers accepted", "TE", "trailers"),
		setHeader("accepts JSON", "Accept", "application/json"),
		setHeader("accepts anything", "Accept", "text/html, */*;q=0.1"),
		setHeader("accepts nothing that there is", "Accept", "image/png"),
		{"header: content type with charset", func(_ *generator, c *Case, _ *binding) bool {
			c.Header.Set("Content-Type", "application/json; charset=utf-8")
			return c.Body != nil
		}},
		{"header: unknown content type", func(_ *generator, c *Case, _ *binding) bool {
			c.Header.Set("Content-Type", "text/plain")
			return c.Body != nil
		}},
		{"method: form instead of GET", formForGet},
		{"method: override", override},
		setMethod("HEAD"), setMethod("OPTIONS"), setMethod("DELETE"), setMethod("POST"), setMethod("PUT"), setMethod("GET"), setMethod("BREW"),
	}
}

// formForGet sends the query of a long GET as a form, as grpc-gateway allows.
func formForGet(_ *generator, c *Case, b *binding) bool {
	if b.httpMethod != http.MethodGet || b.streams() || c.Query == "" {
		return false
	}
	c.Method, c.Body, c.Query = http.MethodPost, []byte(c.Query), ""
	c.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return true
}

func override(_ *generator, c *Case, b *binding) bool {
	if !formForGet(nil, c, b) {
		return false
	}
	c.Header.Set("X-HTTP-Method-Override", "GET")
	return true
}

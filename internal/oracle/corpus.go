package oracle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	catalogv1 "github.com/transomhq/transom/gen/shop/catalog/v1"
	ordersv1 "github.com/transomhq/transom/gen/shop/orders/v1"
	trackingv1 "github.com/transomhq/transom/gen/shop/tracking/v1"
)

// Case is one request, and what upstream answers to it.
type Case struct {
	ID      int
	Binding string // the method and binding that it was made from
	Kind    string // "valid", or what was changed: "path: trailing slash"
	Streams bool   // the method is not unary

	Method string // HTTP
	Path   string // escaped
	Query  string
	Header http.Header
	Body   []byte // nil: none
	Reply  Reply
}

// String returns the request as text.
func (c *Case) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "#%d %s (%s)\n%s %s", c.ID, c.Kind, c.Binding, c.Method, c.target())
	for name, values := range c.Header {
		fmt.Fprintf(&b, "\n%s: %q", name, values)
	}
	if c.Body != nil {
		fmt.Fprintf(&b, "\n\n%q", c.Body)
	}
	return b.String()
}

func (c *Case) target() string {
	if c.Query == "" {
		return c.Path
	}
	return c.Path + "?" + c.Query
}

// Corpus makes n cases from the shop's services, and adds the handmade ones.
// The same seed makes the same cases.
func Corpus(seed uint64, n int) []*Case {
	g := &generator{random: random{rand.New(rand.NewPCG(seed, 0))}}
	for _, file := range []protoreflect.FileDescriptor{
		catalogv1.File_shop_catalog_v1_catalog_proto, ordersv1.File_shop_orders_v1_orders_proto, trackingv1.File_shop_tracking_v1_tracking_proto,
	} {
		g.bindings = append(g.bindings, bindings(file.Services().Get(0))...)
	}
	var cases []*Case
	for i := range n {
		cases = append(cases, g.make(i))
	}
	for i, c := range handmade() {
		c.ID = n + i
		cases = append(cases, c)
	}
	return cases
}

type generator struct {
	random
	bindings []*binding
}

// make makes case i: the bindings in turn, and for each binding every second
// case valid and the others mutated.
func (g *generator) make(i int) *Case {
	b := g.bindings[i%len(g.bindings)]
	c := g.valid(b)
	c.ID = i
	if i/len(g.bindings)%2 == 1 {
		g.mutate(c, b)
	}
	return c
}

// valid makes a request as a client that knows the service would.
func (g *generator) valid(b *binding) *Case {
	c := &Case{
		Binding: string(b.method.FullName()) + " " + b.httpMethod, Kind: "valid", Streams: b.streams(),
		Method: b.httpMethod, Path: g.path(b), Header: http.Header{}, Reply: g.reply(b),
	}
	if b.method.IsStreamingClient() {
		if b.body != "" {
			c.Body = g.lines(b)
		}
		return c
	}
	req := g.request(b)
	switch b.body {
	case "":
		c.Query = encode(g.query(req.ProtoReflect(), func(string) bool { return false }))
	case "*":
		c.Body = g.json(req)
	default:
		field := b.method.Input().Fields().ByName(protoreflect.Name(b.body))
		c.Body = g.fieldJSON(req, field)
		c.Query = encode(g.query(req.ProtoReflect(), func(path string) bool { return path == b.body }))
	}
	if c.Body != nil && g.chance(80) {
		c.Header.Set("Content-Type", "application/json")
	}
	return c
}

// request makes a random request without the fields that the path gives.
func (g *generator) request(b *binding) proto.Message {
	req, err := newMessage(b.method.Input().FullName())
	if err != nil {
		panic(err) // the shop's messages are linked into the test
	}
	g.fill(req, 0)
	for _, p := range b.parts {
		if p.field != "" {
			clearPath(req, p.field)
		}
	}
	if b.httpMethod == "PATCH" && g.chance(60) {
		clearPath(req, "update_mask") // let it be made from the body
	}
	return req
}

// lines makes the body of a client stream: a JSON value for each message.
func (g *generator) lines(b *binding) []byte {
	var all []byte
	for range g.IntN(4) {
		m, err := newMessage(b.method.Input().FullName())
		if err != nil {
			panic(err) // the shop's messages are linked into the test
		}
		g.fill(m, 1)
		all = append(all, g.json(m)...)
		all = append(all, '\n')
	}
	return all
}

// json writes a message in one of the forms that a reader must accept.
func (g *generator) json(m proto.Message) []byte {
	options := protojson.MarshalOptions{UseProtoNames: g.chance(30), UseEnumNumbers: g.chance(20), EmitUnpopulated: g.chance(10)}
	return marshal(options, m)
}

func marshal(options protojson.MarshalOptions, m proto.Message) []byte {
	text, err := options.Marshal(m)
	if err != nil {
		panic(err) // made to be valid
	}
	var b bytes.Buffer
	if err := json.Compact(&b, text); err != nil { // protojson varies its spaces from build to build
		panic(err)
	}
	return b.Bytes()
}

// fieldJSON writes one field alone, as a body rule names it.
func (g *generator) fieldJSON(m proto.Message, field protoreflect.FieldDescriptor) []byte {
	if field.Message() != nil && !field.IsMap() && !field.IsList() {
		return g.json(m.ProtoReflect().Get(field).Message().Interface())
	}
	only := m.ProtoReflect().New()
	if m.ProtoReflect().Has(field) {
		only.Set(field, m.ProtoReflect().Get(field))
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(marshal(protojson.MarshalOptions{EmitUnpopulated: true}, only.Interface()), &members); err != nil {
		panic(err) // just written
	}
	return members[field.JSONName()]
}

// path fills a binding's template.
func (g *generator) path(b *binding) string {
	var segments []string
	for _, p := range b.parts {
		if p.field == "" {
			segments = append(segments, p.literal)
			continue
		}
		field := fieldByPath(b.method.Input(), p.field)
		for _, pattern := range p.pattern {
			switch pattern {
			case "*":
				segments = append(segments, url.PathEscape(g.pathValue(field)))
			case "**":
				for range 1 + g.IntN(3) {
					segments = append(segments, url.PathEscape(g.word()))
				}
			default:
				segments = append(segments, pattern)
			}
		}
	}
	path := "/" + strings.Join(segments, "/")
	if b.verb != "" {
		path += ":" + b.verb
	}
	return path
}

// reply makes what upstream answers: in most cases a message, or some.
func (g *generator) reply(b *binding) Reply {
	reply := Reply{}
	if g.chance(30) {
		reply.Header = metadataOf("x-shop-version", "v1", "x-shop-version", "v1.2", "x-shop-digest-bin", "tea~")
	}
	if g.chance(20) {
		reply.Trailer = metadataOf("x-shop-cost", "3")
	}
	failed := g.chance(20)
	if failed {
		reply.Status = g.status()
	}
	count := 1
	if b.method.IsStreamingServer() {
		count = g.IntN(4)
	} else if failed {
		count = 0
	}
	for range count {
		m, err := newMessage(b.method.Output().FullName())
		if err != nil {
			panic(err) // the shop's messages are linked into the test
		}
		g.fill(m, 0)
		reply.Messages = append(reply.Messages, m)
	}
	return reply
}

func (g *generator) status() *spb.Status {
	code := 1 + g.Int32N(16)
	if g.chance(5) {
		code = 2000 // seen in the wild
	}
	st := &spb.Status{Code: code, Message: pick(g.random, "", "out of tea", "Grüße", "say \"please\"")}
	for range g.IntN(3) {
		st.Details = append(st.Details, g.detail())
	}
	return st
}

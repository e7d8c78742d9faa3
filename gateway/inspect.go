package gateway

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/transomhq/transom/config"
	"github.com/transomhq/transom/interceptors/policy"
	"github.com/transomhq/transom/rpc"
)

// Inspection is a house that was built and never serves: what check, routes
// and explain look at.
type Inspection struct{ house *house }

// Inspect builds what source describes, whole, and opens no listener. Its error
// is what Run would refuse. Close the inspection after use.
func Inspect(ctx context.Context, source config.Source, opts ...Option) (*Inspection, error) {
	file, err := source.Load()
	if err != nil {
		return nil, err
	}
	g := newGateway(source, file.Config, append(opts, WithLogger(slog.New(slog.DiscardHandler))))
	h, err := g.build(ctx, file)
	if err != nil {
		return nil, err
	}
	return &Inspection{h}, nil
}

// Close gives back what the inspection holds.
func (i *Inspection) Close() { i.house.leave() }

// Route is one HTTP binding as it is served.
type Route struct {
	HTTPMethod string `json:"http_method"`
	Template   string `json:"template"`
	Method     string `json:"method"`
	Kind       string `json:"kind"`
	Body       string `json:"body,omitempty"`
	Response   string `json:"response_body,omitempty"`
	Upstream   string `json:"upstream,omitempty"`
	Implicit   bool   `json:"implicit,omitempty"`
	Origin     string `json:"origin"`
}

// Routes returns the bindings that are served, by template and HTTP method.
func (i *Inspection) Routes() []Route { return i.house.routes() }

func (h *house) routes() []Route {
	var out []Route
	for _, b := range h.router.Bindings() {
		out = append(out, h.routeOf(b))
	}
	slices.SortFunc(out, func(a, b Route) int {
		return strings.Compare(a.Template+" "+a.HTTPMethod, b.Template+" "+b.HTTPMethod)
	})
	return out
}

func (h *house) routeOf(b *rpc.Binding) Route {
	r := Route{
		HTTPMethod: b.HTTPMethod, Template: b.Template, Method: b.Method.Name, Kind: kindOf(b.Method),
		Body: b.Body, Response: b.ResponseBody, Implicit: b.Implicit, Origin: b.Origin,
	}
	if backend, ok := h.backends.of(b.Method); ok {
		r.Upstream = cmp.Or(h.splitOf(b.Method), backend.Name)
	}
	return r
}

func kindOf(m *rpc.Method) string {
	switch {
	case m.ClientStreams && m.ServerStreams:
		return "bidi stream"
	case m.ClientStreams:
		return "client stream"
	case m.ServerStreams:
		return "server stream"
	}
	return "unary"
}

// Warnings returns what serves, but perhaps not as its author thinks.
func (i *Inspection) Warnings() []string {
	out := i.house.warnings()
	for _, p := range i.house.schema.Advice() {
		out = append(out, p.String())
	}
	return out
}

func (h *house) warnings() []string {
	var out []string
	for _, p := range h.schema.Warnings {
		out = append(out, p.String())
	}
	for _, s := range h.router.Skipped() {
		out = append(out, "left out: "+s.String())
	}
	for _, w := range h.router.Warnings() {
		out = append(out, w.String())
	}
	for _, r := range h.policies.Unused() {
		out = append(out, fmt.Sprintf("%s: selector %q names no method", r.Origin, r.Selector))
	}
	out = append(out, ignored(h.schema.Methods, h.policies)...)
	out = append(out, h.advice...)
	for _, m := range h.schema.Methods {
		if _, ok := h.backends.of(m); !ok {
			out = append(out, fmt.Sprintf("%s: no route leads to an upstream; calls are answered UNAVAILABLE", m.Selector()))
		}
	}
	return out
}

// Explanation says what a request means to the gateway, or why nothing.
type Explanation struct {
	Route     *Route            `json:"route,omitempty"`
	Variables map[string]string `json:"variables,omitempty"` // raw, as in the path
	Traffic   []string          `json:"traffic,omitempty"`   // how calls are shared, in words
	Policy    []PolicyPart      `json:"policy,omitempty"`
	Refusal   string            `json:"refusal,omitempty"`
	Nearest   []Candidate       `json:"nearest,omitempty"`
}

// Candidate is a route that a request nearly meant.
type Candidate struct {
	Route
	Reason string `json:"reason"` // why it is not meant
}

// PolicyPart is one part of an effective policy.
type PolicyPart struct {
	Part   string `json:"part"`
	Value  string `json:"value"` // JSON
	Origin string `json:"origin"`
}

// Explain returns what a request of httpMethod and path (escaped, as on the
// wire; a query is ignored) means.
func (i *Inspection) Explain(httpMethod, path string) Explanation {
	return i.house.explain(httpMethod, path)
}

func (h *house) explain(httpMethod, path string) Explanation {
	path, _, _ = strings.Cut(path, "?")
	var match rpc.Match
	if err := h.router.Match(httpMethod, path, &match); err != nil {
		e := Explanation{Refusal: err.Message}
		for _, c := range h.router.Candidates(httpMethod, path, 3) {
			e.Nearest = append(e.Nearest, Candidate{h.routeOf(c.Binding), c.Reason})
		}
		return e
	}
	r := h.routeOf(match.Binding)
	e := Explanation{Route: &r, Traffic: h.trafficOf(match.Binding.Method), Policy: partsOf(h.policies.Of(match.Binding.Method.Name))}
	for i, v := range match.Binding.Variables {
		if e.Variables == nil {
			e.Variables = map[string]string{}
		}
		e.Variables[v.Path] = match.Values[i]
	}
	return e
}

func partsOf(e *policy.Effective) []PolicyPart {
	var parts []PolicyPart
	e.Policy.ProtoReflect().Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		text, err := protojson.Marshal(v.Message().Interface())
		if err != nil {
			text = []byte(err.Error())
		}
		name := string(fd.Name())
		parts = append(parts, PolicyPart{Part: name, Value: string(text), Origin: e.Origins[name].Text})
		return true
	})
	slices.SortFunc(parts, func(a, b PolicyPart) int { return strings.Compare(a.Part, b.Part) })
	return parts
}

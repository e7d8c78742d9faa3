package traffic

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/metadata"

	"github.com/transomhq/transom/rpc"
)

// Match sends the calls for which all of its parts hold to a subset.
type Match struct {
	// Subset is the index of the subset.
	Subset  int
	Headers []Header
	Claims  []Claim
	// Percent of the calls for which the rest holds; 100 is all.
	Percent float64
	// Scope is needed for the rule to be looked at at all; "" is none.
	Scope string
}

// Header is what a metadata key must be: one of its values is Exact, or begins
// with Prefix; without either, it is there.
type Header struct {
	Name, Exact, Prefix string
}

// Claim is what a claim of the principal must be, as text. Of a list, one
// element.
type Claim struct {
	Name, Equals string
}

// holds reports whether a call is the rule's. salt tells the rule from others.
func (m *Match) holds(md metadata.MD, who *rpc.Principal, salt string, k key) bool {
	if m.Scope != "" && !who.HasScope(m.Scope) {
		return false
	}
	for i := range m.Headers {
		if !m.Headers[i].holds(md) {
			return false
		}
	}
	for i := range m.Claims {
		if !m.Claims[i].holds(who) {
			return false
		}
	}
	return m.Percent >= 100 || share(m.Percent, salt, k)
}

func (h *Header) holds(md metadata.MD) bool {
	values := md[h.Name]
	switch {
	case h.Exact != "":
		return slices.Contains(values, h.Exact)
	case h.Prefix != "":
		return slices.ContainsFunc(values, func(v string) bool { return strings.HasPrefix(v, h.Prefix) })
	}
	return len(values) > 0
}

func (c *Claim) holds(who *rpc.Principal) bool {
	if who == nil {
		return false
	}
	switch c.Name {
	case "sub":
		return who.Subject == c.Equals
	case "iss":
		return who.Issuer == c.Equals
	}
	switch v := who.Claims[c.Name].(type) {
	case nil:
		return false
	case []any:
		return slices.ContainsFunc(v, func(one any) bool { return textOf(one) == c.Equals })
	case []string:
		return slices.Contains(v, c.Equals)
	default:
		return textOf(v) == c.Equals
	}
}

// textOf returns a JSON value as text: a string as it is.
func textOf(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

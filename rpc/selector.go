package rpc

import (
	"fmt"
	"strings"
)

// Selector names methods: "*", "pkg.*", "pkg.Service", "pkg.Service.*" or
// "pkg.Service.Method", as in google.api.HttpRule.selector.
type Selector string

// ParseSelector checks that s is a selector.
func ParseSelector(s string) (Selector, error) {
	name := strings.TrimSuffix(s, "*")
	switch {
	case s == "*":
		return "*", nil
	case s == "":
		return "", fmt.Errorf(`empty selector: write a method, a service, a package followed by ".*", or "*"`)
	case name != s && !strings.HasSuffix(name, "."), strings.Contains(name, "*"):
		return "", fmt.Errorf(`selector %q: "*" stands alone or as the last part, as in "shop.orders.v1.*"`, s)
	}
	for part := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if !isIdent(part) {
			return "", fmt.Errorf("selector %q: %q is not a name", s, part)
		}
	}
	return Selector(s), nil
}

func isIdent(s string) bool {
	for i, r := range s {
		switch {
		case r == '_', r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z':
		case r >= '0' && r <= '9' && i > 0:
		default:
			return false
		}
	}
	return s != ""
}

// Matches reports whether the selector names method, given as
// "pkg.Service.Method". A service's name alone names all its methods.
func (s Selector) Matches(method string) bool {
	sel := string(s)
	if prefix, ok := strings.CutSuffix(sel, "*"); ok {
		return strings.HasPrefix(method, prefix)
	}
	return sel == method || len(method) > len(sel) && strings.HasPrefix(method, sel) &&
		method[len(sel)] == '.' && strings.LastIndexByte(method, '.') == len(sel)
}

// Exact reports whether the selector names method and no other one.
func (s Selector) Exact(method string) bool { return string(s) == method }

// Specificity orders the selectors that match one method: the longer name is
// the more specific one.
func (s Selector) Specificity() int { return len(strings.TrimSuffix(string(s), "*")) }

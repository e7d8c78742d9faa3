package router_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/transomhq/transom/router"
	"github.com/transomhq/transom/router/httprule"
	"github.com/transomhq/transom/rpc"
)

// naive answers as the table should, template by template, in the words of the
// specification: "METHOD template name=value ...", or a status.
func naive(routes []string, method, path string) string {
	if path == "" || path[0] != '/' {
		return "400"
	}
	segs := strings.Split(path[1:], "/")
	trailing := false
	for i, s := range segs {
		plain, err := url.PathUnescape(s)
		if err != nil || strings.ContainsRune(plain, 0) || !utf8.ValidString(plain) || plain == "." || plain == ".." {
			return "400"
		}
		if s == "" && i < len(segs)-1 {
			return "400"
		}
		trailing = s == "" && i > 0
	}
	if trailing {
		return "404"
	}
	if path == "/" {
		segs = nil
	}

	var best *fit
	found := false
	for _, r := range routes {
		f := fits(routes, r, segs)
		if f == nil {
			continue
		}
		found = true
		f.method = slices.Index([]string{method, map[string]string{"HEAD": "GET"}[method], "*"}, f.http)
		if f.method >= 0 && (best == nil || f.before(best)) {
			best = f
		}
	}
	switch {
	case best != nil:
		return best.answer
	case found:
		return "405"
	}
	return "404"
}

// fit is a template that matches a path.
type fit struct {
	http, answer string
	segs         []httprule.Segment
	verb         string
	method       int // 0 exact, 1 GET for HEAD, 2 any
}

// before is the precedence: literal, "*", "**" segment by segment, the end
// before a "**" for nothing, the longer tail, and then the HTTP method.
func (f *fit) before(g *fit) bool {
	for i := 0; i < len(f.segs) || i < len(g.segs); i++ {
		if i == len(f.segs) || i == len(g.segs) {
			return i == len(f.segs)
		}
		a, b := f.segs[i].Kind, g.segs[i].Kind
		if a != b {
			return a < b
		}
		if a == httprule.Deep && len(f.segs) != len(g.segs) {
			return len(f.segs) > len(g.segs)
		}
	}
	return f.method < g.method
}

func fits(routes []string, route string, segs []string) *fit {
	http, text, _ := strings.Cut(route, " ")
	t := parse(text)
	verb := t.Verb
	if len(segs) > 0 {
		last := segs[len(segs)-1]
		i := strings.LastIndexByte(last, ':')
		known := false // a template of the same segments has the verb
		if i >= 0 && i < len(last)-1 {
			for _, other := range routes {
				_, text, _ := strings.Cut(other, " ")
				o := parse(text)
				known = known || o.Verb != "" && shapeOf(o) == shapeOf(t) && same(o.Verb, last[i+1:])
			}
		}
		if verb != "" {
			if i < 1 || !same(verb, last[i+1:]) {
				return nil
			}
			if head, _ := url.PathUnescape(last[:i]); head == "." || head == ".." {
				return nil
			}
			segs = append(slices.Clone(segs[:len(segs)-1]), last[:i])
		} else if known {
			// What a wildcard would take whole is a verb, unless it is a literal's.
			if n := len(t.Segments); n == 0 || t.Segments[n-1].Kind != httprule.Literal {
				return nil
			}
		}
	} else if verb != "" {
		return nil
	}
	deep := t.Deep()
	extra := len(segs) - len(t.Segments) // what "**" takes beyond one segment
	if deep < 0 && extra != 0 || deep >= 0 && extra < -1 {
		return nil
	}
	place := func(i int) int { // where template segment i is in the path
		if deep >= 0 && i > deep {
			return i + extra
		}
		return i
	}
	for i, s := range t.Segments {
		if s.Kind == httprule.Literal && !same(s.Text, segs[place(i)]) {
			return nil
		}
	}
	f := &fit{http: http, segs: t.Segments, verb: verb, answer: route}
	for _, v := range t.Variables {
		f.answer += " " + v.Path + "=" + strings.Join(segs[place(v.Start):place(v.End)], "/")
	}
	return f
}

func parse(text string) *httprule.Template {
	t, err := httprule.Parse(text)
	if err != nil {
		panic(err)
	}
	return t
}

func shapeOf(t *httprule.Template) string {
	var b strings.Builder
	for _, s := range t.Segments {
		fmt.Fprintf(&b, "%d%s/", s.Kind, normal(s.Text))
	}
	return b.String()
}

func same(a, b string) bool { return normal(a) == normal(b) }

// normal decodes the unreserved escapes of a well-formed segment.
func normal(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' {
			c, _ := url.PathUnescape(s[i : i+3])
			i += 2
			if strings.Contains("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~", c) {
				b.WriteString(c)
			} else {
				fmt.Fprintf(&b, "%%%02X", c[0])
			}
		} else if s[i] >= utf8.RuneSelf {
			fmt.Fprintf(&b, "%%%02X", s[i])
		} else {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// drawRoute draws "METHOD template" over a small alphabet, so that templates meet.
func drawRoute(t *rapid.T) string {
	method := rapid.SampledFrom([]string{"GET", "GET", "GET", "POST", "HEAD", "*", "PURGE"}).Draw(t, "method")
	n := rapid.IntRange(0, 4).Draw(t, "segments")
	var parts []string
	deep := false
	for range n {
		kinds := []string{"a", "b", "~", "a", "b", "%7eu", "a%2fb", "ö", "a:v/b", "*", "*", "*", "**"}
		part := rapid.SampledFrom(kinds).Draw(t, "segment")
		if deep && part[0] == '*' {
			part = "a"
		}
		deep = deep || part == "**"
		parts = append(parts, part)
	}
	if n == 0 {
		return method + " /"
	}
	// Put some of it into variables.
	names := []string{"x", "y", "z"}
	for i := 0; i < len(parts) && len(names) > 0; i++ {
		end := i + rapid.IntRange(0, 2).Draw(t, "variable")
		if end == i || end > len(parts) {
			continue
		}
		parts[i] = "{" + names[0] + "=" + strings.Join(parts[i:end], "/") + "}"
		parts = slices.Delete(parts, i+1, end)
		names = names[1:]
	}
	verb := rapid.SampledFrom([]string{"", "", "", ":v", ":w"}).Draw(t, "verb")
	return method + " /" + strings.Join(parts, "/") + verb
}

func drawRoutes(t *rapid.T, most int) []string {
	routes := rapid.SliceOfN(rapid.Custom(drawRoute), 1, most).Draw(t, "routes")
	tab, err := router.New(bindings(routes...), router.Options{SkipInvalid: true})
	if err != nil {
		t.Fatal(err)
	}
	// Conflicts are those of equal shape, verb and method, the later one going.
	var kept []string
	seen := map[string]bool{}
	for _, r := range routes {
		method, text, _ := strings.Cut(r, " ")
		p := parse(text)
		key := method + " " + shapeOf(p) + ":" + p.Verb
		if !seen[key] {
			kept = append(kept, r)
		}
		seen[key] = true
	}
	var served []string
	for _, b := range tab.Bindings() {
		served = append(served, b.HTTPMethod+" "+b.Template)
	}
	if !slices.Equal(kept, served) {
		t.Fatalf("served are %q, want %q", served, kept)
	}
	return kept
}

func TestMatchAgreesWithNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		routes := drawRoutes(t, 12)
		tab, err := router.New(bindings(routes...), router.Options{})
		if err != nil {
			t.Fatal(err)
		}
		segment := rapid.SampledFrom([]string{
			"a", "b", "a", "b", "a", "b", "~", "%7E", "~u", "%61", "a%2Fb", "a%2fb", "ö", "%c3%B6", "c",
			"a:v", "b:w", "a:v:w", ":v", ":", "a:", "%3Av", "a%3Av", "c:%76", "c:v", "", ".", "..", "%2e", "..:v", "%2E:w", "%zz", "%ff", "%00",
		})
		for range 20 {
			n := rapid.IntRange(1, 6).Draw(t, "n")
			path := ""
			for range n {
				path += "/" + segment.Draw(t, "segment")
			}
			method := rapid.SampledFrom([]string{"GET", "GET", "POST", "HEAD", "PURGE", "BREW", "OPTIONS"}).Draw(t, "method")
			compare(t, tab, routes, method, path)
		}
	})
}

type fatalf interface{ Fatalf(string, ...any) }

func compare(t fatalf, tab *router.Table, routes []string, method, path string) {
	var m rpc.Match
	var got string
	if err := tab.Match(method, path, &m); err != nil {
		got = fmt.Sprint(err.HTTPStatus)
	} else {
		got = m.Binding.HTTPMethod + " " + m.Binding.Template
		for i, v := range m.Binding.Variables {
			got += " " + v.Path + "=" + m.Values[i]
		}
	}
	if want := naive(routes, method, path); got != want {
		t.Fatalf("%s %s -> %s, want %s\nroutes %q", method, path, got, want, routes)
	}
	// Allow lists the methods that are found, and is nil where none would be.
	allow := tab.Allow(path)
	listed := slices.Contains(allow, method)
	switch {
	case got == "400" || got == "404":
		listed = allow == nil
	case method == "OPTIONS": // listed always: the gateway answers it
	case got == "405":
		listed = allow != nil && !listed
	case m.Binding.HTTPMethod == "*": // any method, listed or not
		listed = true
	}
	if !listed {
		t.Fatalf("%s %s -> %s, but Allow is %q\nroutes %q", method, path, got, allow, routes)
	}
}

// TestWarningsAgreeWithNaive finds overlaps by trying paths.
func TestWarningsAgreeWithNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var routes []string
		for _, r := range drawRoutes(t, 6) {
			if !strings.Contains(r, "%") && !strings.Contains(r, "ö") && !strings.Contains(r, "~") {
				routes = append(routes, r)
			}
		}
		tab, err := router.New(bindings(routes...), router.Options{})
		if err != nil {
			t.Fatal(err)
		}
		got := map[[2]int]bool{}
		for _, w := range tab.Warnings() {
			got[[2]int{w.Taken.ID, w.Other.ID}] = true
			for _, r := range []*rpc.Binding{w.Taken, w.Other} {
				alone := []string{r.HTTPMethod + " " + r.Template}
				if n := naive(alone, method(r), w.Example); n == "404" || n == "400" || n == "405" {
					t.Fatalf("%s: the example %s is not matched by %s", w, w.Example, r.Template)
				}
			}
		}
		for i, a := range routes {
			for j := i + 1; j < len(routes); j++ {
				b := routes[j]
				if want := takes(a, b); want != got[[2]int{i, j}] || got[[2]int{j, i}] {
					t.Fatalf("%s, %s: warned %v, want %v", a, b, !want, want)
				}
			}
		}
	})
}

func method(b *rpc.Binding) string {
	if b.HTTPMethod == "*" {
		return "GET"
	}
	return b.HTTPMethod
}

// takes reports whether a takes a path that b, declared later, matches too,
// both with the same HTTP method and verb.
func takes(a, b string) bool {
	ma, ta, _ := strings.Cut(a, " ")
	mb, tb, _ := strings.Cut(b, " ")
	verb := parse(ta).Verb
	if ma != mb || verb != parse(tb).Verb {
		return false
	}
	if verb != "" {
		verb = ":" + verb
	}
	paths := [][]string{{}}
	for at := 0; at < len(paths); at++ {
		p := paths[at]
		if fa, fb := fits(nil, a, withVerb(p, verb)), fits(nil, b, withVerb(p, verb)); fa != nil && fb != nil {
			return fa.before(fb)
		}
		if len(p) < 7 {
			for _, s := range needed(ta, tb) {
				paths = append(paths, append(slices.Clone(p), s))
			}
		}
	}
	return false
}

// needed are the segments that two templates can tell apart.
func needed(templates ...string) []string {
	out := []string{"x"}
	for _, t := range templates {
		for _, s := range parse(t).Segments {
			if s.Kind == httprule.Literal && !slices.Contains(out, s.Text) {
				out = append(out, s.Text)
			}
		}
	}
	return out
}

func withVerb(segs []string, verb string) []string {
	if len(segs) == 0 || verb == "" {
		return segs
	}
	return append(slices.Clone(segs[:len(segs)-1]), segs[len(segs)-1]+verb)
}

func FuzzMatch(f *testing.F) {
	for _, path := range []string{"/", "/a/b", "/a:v", "/a/%7eu:w", "//", "/a/../b", "/%zz", "/%c3%b6/x", "/a/x/y/z:v", "/\xff", "/a/", "/b/:v"} {
		f.Add("GET", path)
	}
	routes := []string{
		"GET /", "GET /a/{id}", "POST /a/{id}:v", "GET /a/~u:w", "GET /{x=a/**}/z:v", "GET /{x=**}/y/z", "GET /{x=**}/z", "* /ö/{y}", "GET /{a}/{b=c/*}", "HEAD /a/b",
		"DELETE /{all=**}:v", "POST /b/*", "GET /b:v", "PURGE /a%2fb/**",
	}
	tab := table(f, routes...)
	f.Fuzz(func(t *testing.T, method, path string) {
		if strings.Count(path, "/") > httprule.MaxSegments || len(path) > 1<<16-1 || method == "*" {
			return
		}
		compare(t, tab, routes, method, path)
		tab.Nearest(method, path, 3)
	})
}

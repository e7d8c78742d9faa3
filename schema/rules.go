package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"gopkg.in/yaml.v3"

	"github.com/transomhq/transom/rpc"
)

// maxRules bounds a service-config file, in bytes.
const maxRules = 64 << 20

// ruleSet is what service-config files say about HTTP.
type ruleSet struct {
	rules []rule // in the order of the files
	exact map[string]int
	wild  []int // indexes of rules whose selector is not one method's name
	// decodeReserved is fully_decode_reserved_expansion.
	decodeReserved bool
}

// rule is one HTTP rule with the places that its parts have.
type rule struct {
	selectors []rpc.Selector
	http      *annotations.HttpRule
	origin    string
	more      []string // the origins of its additional bindings
}

// readRules reads service-config files.
func readRules(names []string) (*ruleSet, []Problem) {
	set := &ruleSet{exact: map[string]int{}}
	var problems []Problem
	for _, name := range names {
		data, err := readAtMost(name, maxRules)
		if err != nil {
			problems = append(problems, Problem{name, plainError(err, name)})
			continue
		}
		problems = append(problems, set.parse(name, data)...)
	}
	set.index()
	return set, problems
}

// index makes find cheap: rules for one method or service by name, the others in a list.
func (s *ruleSet) index() {
	for i, r := range s.rules {
		for _, sel := range r.selectors {
			if strings.HasSuffix(string(sel), "*") {
				s.wild = append(s.wild, i)
				continue
			}
			s.exact[string(sel)] = i // the last one wins
		}
	}
}

func readAtMost(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("larger than %d bytes", limit)
	}
	return data, err
}

// find returns the index of the rule for a method, the last one that matches,
// or -1. A service's name alone matches its methods.
func (s *ruleSet) find(method string) int {
	best := -1
	if i, ok := s.exact[method]; ok {
		best = i
	}
	if i, ok := s.exact[method[:max(0, strings.LastIndexByte(method, '.'))]]; ok {
		best = max(best, i)
	}
	for _, i := range slices.Backward(s.wild) {
		if i <= best {
			break
		}
		if slices.ContainsFunc(s.rules[i].selectors, func(sel rpc.Selector) bool { return sel.Matches(method) }) {
			return i
		}
	}
	return best
}

// parse adds the rules of one file in the YAML or JSON form of google.api.Service.
func (s *ruleSet) parse(name string, data []byte) []Problem {
	if json.Valid(data) { // YAML, of which JSON is a part, has no tabs for space
		data = bytes.ReplaceAll(data, []byte{'\t'}, []byte{' '})
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return []Problem{{yamlOrigin(name, err), strings.TrimPrefix(plainYAML(err), "yaml: ")}}
	}
	p := &ruleParser{name: name}
	if second := new(yaml.Node); dec.Decode(second) == nil {
		p.wrong(second, "a second document: one file is one google.api.Service")
	}
	p.service(s, doc.Content[0])
	return p.problems
}

// ruleParser walks YAML with its positions.
type ruleParser struct {
	name     string
	problems []Problem
}

func (p *ruleParser) at(n *yaml.Node) string {
	return fmt.Sprintf("%s:%d:%d", p.name, n.Line, n.Column)
}

func (p *ruleParser) wrong(n *yaml.Node, format string, args ...any) {
	p.problems = append(p.problems, Problem{p.at(n), fmt.Sprintf(format, args...)})
}

// fields calls f for each member of a mapping.
func (p *ruleParser) fields(n *yaml.Node, what string, f func(key string, k, v *yaml.Node)) {
	n = follow(n)
	if isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		p.wrong(n, "%s is a mapping of fields", what)
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := follow(n.Content[i]), follow(n.Content[i+1])
		key := snake(k.Value)
		if seen[key] {
			p.wrong(k, "%q is set twice", k.Value)
		}
		seen[key] = true
		f(key, k, v)
	}
}

func (p *ruleParser) service(s *ruleSet, n *yaml.Node) {
	p.fields(n, "google.api.Service", func(key string, k, v *yaml.Node) {
		switch key {
		case "type":
			if v.Value != "google.api.Service" {
				p.wrong(v, "type %q: write google.api.Service", v.Value)
			}
		case "http":
			p.http(s, v)
		}
	})
}

func (p *ruleParser) http(s *ruleSet, n *yaml.Node) {
	p.fields(n, "http", func(key string, k, v *yaml.Node) {
		switch key {
		case "rules":
			p.list(v, "rules", func(item *yaml.Node) {
				before := len(p.problems)
				if r := p.rule(item, 0); len(p.problems) == before {
					s.rules = append(s.rules, r)
				}
			})
		case "fully_decode_reserved_expansion":
			var on bool
			if err := v.Decode(&on); err != nil {
				p.wrong(v, "%s is true or false", key)
			}
			s.decodeReserved = s.decodeReserved || on
		default:
			p.wrong(k, "unknown field %q: http has rules and fully_decode_reserved_expansion", k.Value)
		}
	})
}

func (p *ruleParser) list(n *yaml.Node, what string, f func(*yaml.Node)) {
	n = follow(n)
	if isNull(n) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		p.wrong(n, "%s is a list", what)
		return
	}
	for _, item := range n.Content {
		f(follow(item))
	}
}

// rule reads a google.api.HttpRule; depth 1 is an additional binding.
func (p *ruleParser) rule(n *yaml.Node, depth int) rule {
	r := rule{http: &annotations.HttpRule{}, origin: p.at(n)}
	if isNull(n) {
		p.wrong(n, "an empty rule")
		return r
	}
	patterns, selected := 0, false
	p.fields(n, "a rule", func(key string, k, v *yaml.Node) {
		switch key {
		case "selector":
			r.selectors, selected = p.selectors(v, depth), true
		case "get", "put", "post", "delete", "patch", "custom":
			if patterns++; patterns > 1 {
				p.wrong(k, "a second HTTP method in one rule: write it under additional_bindings")
			}
			p.pattern(r.http, key, v)
		case "body":
			r.http.Body = p.text(key, v)
		case "response_body":
			r.http.ResponseBody = p.text(key, v)
		case "additional_bindings":
			p.additional(&r, k, v, depth)
		default:
			p.wrong(k, "unknown field %q: a rule has selector, get, put, post, delete, patch, custom, body, response_body and additional_bindings", k.Value)
		}
	})
	if depth == 0 && !selected {
		p.wrong(n, "a rule without selector: name the methods that it is for")
	}
	return r
}

func (p *ruleParser) additional(r *rule, k, v *yaml.Node, depth int) {
	if depth > 0 {
		p.wrong(k, "additional_bindings inside additional_bindings: list them side by side")
		return
	}
	p.list(v, "additional_bindings", func(item *yaml.Node) {
		more := p.rule(item, depth+1)
		r.http.AdditionalBindings = append(r.http.AdditionalBindings, more.http)
		r.more = append(r.more, more.origin)
	})
}

// selectors reads a comma-separated list of selectors.
func (p *ruleParser) selectors(n *yaml.Node, depth int) []rpc.Selector {
	var out []rpc.Selector
	text := p.text("selector", n)
	if depth > 0 {
		if text != "" {
			p.wrong(n, "selector %q: an additional binding has its rule's selector", text)
		}
		return nil
	}
	for s := range strings.SplitSeq(text, ",") {
		sel, err := rpc.ParseSelector(strings.TrimSpace(s))
		if err != nil {
			p.wrong(n, "%s", err)
			continue
		}
		out = append(out, sel)
	}
	return out
}

func (p *ruleParser) pattern(r *annotations.HttpRule, key string, v *yaml.Node) {
	if key == "custom" {
		c := &annotations.CustomHttpPattern{}
		p.fields(v, "custom", func(key string, k, v *yaml.Node) {
			switch key {
			case "kind":
				c.Kind = p.text(key, v)
			case "path":
				c.Path = p.text(key, v)
			default:
				p.wrong(k, "unknown field %q: custom has kind and path", k.Value)
			}
		})
		r.Pattern = &annotations.HttpRule_Custom{Custom: c}
		return
	}
	text := p.text(key, v)
	switch key {
	case "get":
		r.Pattern = &annotations.HttpRule_Get{Get: text}
	case "put":
		r.Pattern = &annotations.HttpRule_Put{Put: text}
	case "post":
		r.Pattern = &annotations.HttpRule_Post{Post: text}
	case "delete":
		r.Pattern = &annotations.HttpRule_Delete{Delete: text}
	case "patch":
		r.Pattern = &annotations.HttpRule_Patch{Patch: text}
	}
}

func (p *ruleParser) text(key string, n *yaml.Node) string {
	if isNull(n) {
		return ""
	}
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		p.wrong(n, "%s is a text", key)
		return ""
	}
	return n.Value
}

// follow returns what an alias stands for.
func follow(n *yaml.Node) *yaml.Node {
	for range 16 {
		if n.Kind != yaml.AliasNode || n.Alias == nil {
			return n
		}
		n = n.Alias
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Line: n.Line, Column: n.Column}
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" || n.Kind == 0 }

// snake returns the proto name of a field that JSON may spell in camelCase.
func snake(s string) string {
	var out strings.Builder
	for _, r := range s {
		if r >= 'A' && r <= 'Z' {
			out.WriteByte('_')
			r += 'a' - 'A'
		}
		out.WriteRune(r)
	}
	return out.String()
}

// yamlOrigin puts the line that the parser's error names into the origin.
func yamlOrigin(name string, err error) string {
	var line int
	if n, _ := fmt.Sscanf(err.Error(), "yaml: line %d:", &line); n == 1 {
		return fmt.Sprintf("%s:%d", name, line)
	}
	return name
}

func plainYAML(err error) string {
	text := err.Error()
	if strings.HasPrefix(text, "yaml: line ") {
		if _, rest, ok := strings.Cut(text, ": "); ok {
			if _, after, ok := strings.Cut(rest, ": "); ok {
				return after
			}
		}
	}
	return text
}

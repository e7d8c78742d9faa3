package config

import (
	"fmt"
	"strings"
)

// expand replaces ${NAME} and ${NAME:-default} in text by environment
// variables, and $${ by a literal ${. The default also stands in for a
// variable that is set to nothing, as in a shell. The result is not looked at
// again, so that a variable's value cannot name another one.
func expand(text string, env Env) (string, error) {
	if !strings.Contains(text, "${") {
		return text, nil
	}
	var b strings.Builder
	for {
		i := strings.Index(text, "${")
		if i < 0 {
			b.WriteString(text)
			return b.String(), nil
		}
		if i > 0 && text[i-1] == '$' {
			b.WriteString(text[:i-1] + "${")
			text = text[i+2:]
			continue
		}
		b.WriteString(text[:i])
		inner, rest, closed := strings.Cut(text[i+2:], "}")
		if !closed {
			return "", fmt.Errorf(`%q has no closing "}"; a literal ${ is written $${`, text[i:])
		}
		value, err := variable(inner, env)
		if err != nil {
			return "", err
		}
		b.WriteString(value)
		text = rest
	}
}

// variable returns the value of NAME or NAME:-default.
func variable(inner string, env Env) (string, error) {
	name, fallback, hasFallback := strings.Cut(inner, ":-")
	if !isVariable(name) {
		return "", fmt.Errorf("${%s} names no variable: write ${NAME} or ${NAME:-default}; a literal ${ is written $${", inner)
	}
	var value string
	var ok bool
	if env != nil {
		value, ok = env(name)
	}
	switch {
	case hasFallback && value == "":
		return fallback, nil
	case !ok:
		return "", fmt.Errorf("environment variable %s is not set; ${%s:-default} would do without", name, name)
	}
	return value, nil
}

func isVariable(name string) bool {
	for i, r := range name {
		switch {
		case r == '_', r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z':
		case r >= '0' && r <= '9' && i > 0:
		default:
			return false
		}
	}
	return name != ""
}

// escape is the inverse of expand.
func escape(text string) string { return strings.ReplaceAll(text, "${", "$${") }

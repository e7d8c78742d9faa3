package jwt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"unicode/utf8"
)

// maxDepth bounds how deep claims may be nested.
const maxDepth = 16

// parseObject reads one JSON object whose names are unique at every level
// (RFC 7515, section 4; RFC 7519, section 4): two readers of a duplicate might
// believe two things. Numbers are float64.
func parseObject(text []byte) (map[string]any, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	t, err := dec.Token()
	if err != nil {
		return nil, errors.New("not JSON")
	}
	if t != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	o, err := parseMembers(dec, 1)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("more than one JSON value")
	}
	return o, nil
}

func parseMembers(dec *json.Decoder, depth int) (map[string]any, error) {
	if depth > maxDepth {
		return nil, errors.New("nested too deep")
	}
	o := map[string]any{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, errors.New("not JSON")
		}
		name, ok := t.(string)
		if !ok {
			return nil, errors.New("not JSON")
		}
		if _, twice := o[name]; twice {
			return nil, errors.New("a name is there twice")
		}
		if o[name], err = parseValue(dec, depth); err != nil {
			return nil, err
		}
	}
	_, err := dec.Token() // the closing brace
	if err != nil {
		return nil, errors.New("not JSON")
	}
	return o, nil
}

func parseValue(dec *json.Decoder, depth int) (any, error) {
	t, err := dec.Token()
	if err != nil {
		return nil, errors.New("not JSON")
	}
	switch t {
	case json.Delim('{'):
		return parseMembers(dec, depth+1)
	case json.Delim('['):
		if depth >= maxDepth {
			return nil, errors.New("nested too deep")
		}
		list := []any{}
		for dec.More() {
			v, err := parseValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		if _, err := dec.Token(); err != nil {
			return nil, errors.New("not JSON")
		}
		return list, nil
	}
	return t, nil
}

// text returns a member that must be a text if it is there.
func text(o map[string]any, name string) (string, error) {
	v, ok := o[name]
	if !ok {
		return "", nil
	}
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("%s is not a text", name)
	}
	return s, nil
}

// texts returns a member that is a text or a list of texts.
func texts(o map[string]any, name string) ([]string, error) {
	switch v := o[name].(type) {
	case nil:
		if _, ok := o[name]; ok {
			return nil, fmt.Errorf("%s is null", name)
		}
		return nil, nil
	case string:
		return []string{v}, nil
	case []any:
		list := make([]string, len(v))
		for i, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, fmt.Errorf("%s is not a list of texts", name)
			}
			list[i] = s
		}
		return list, nil
	}
	return nil, fmt.Errorf("%s is not a text", name)
}

// maxDate is the last second of the year 9999.
const maxDate = 253402300799

// seconds returns a NumericDate (RFC 7519, section 2).
func seconds(o map[string]any, name string) (at float64, ok bool, err error) {
	v, ok := o[name]
	if !ok {
		return 0, false, nil
	}
	n, isNumber := v.(float64)
	if !isNumber || math.IsNaN(n) || math.IsInf(n, 0) {
		return 0, true, fmt.Errorf("%s is not a number", name)
	}
	return max(0, min(n, maxDate)), true, nil
}

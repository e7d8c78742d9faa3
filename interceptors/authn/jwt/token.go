package jwt

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// token is a compact JWS in its parts, none of which is trusted yet.
type token struct {
	alg, kid, typ string
	claims        map[string]any
}

// parse takes a compact JWS apart. Its errors hold no part of the token.
func parse(compact string) (*token, error) {
	head, rest, ok := strings.Cut(compact, ".")
	body, signature, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || strings.Contains(signature, ".") {
		return nil, errors.New("not three parts")
	}
	if _, err := decode(signature); err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	t := &token{}
	if err := t.readHeader(head); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	raw, err := decode(body)
	if err != nil {
		return nil, fmt.Errorf("claims: %w", err)
	}
	if t.claims, err = parseObject(raw); err != nil {
		return nil, fmt.Errorf("claims: %w", err)
	}
	return t, nil
}

func (t *token) readHeader(head string) error {
	raw, err := decode(head)
	if err != nil {
		return err
	}
	h, err := parseObject(raw)
	if err != nil {
		return err
	}
	for name := range h {
		switch name {
		case "crit":
			return errors.New("crit names extensions, and none is understood") // RFC 7515, section 4.1.11
		case "b64":
			return errors.New("b64 is not supported") // RFC 7797, section 7
		case "zip", "enc":
			return errors.New("the token is encrypted or compressed") // RFC 8725, section 2.4
		}
	}
	for name, dst := range map[string]*string{"alg": &t.alg, "kid": &t.kid, "typ": &t.typ} {
		if *dst, err = text(h, name); err != nil {
			return err
		}
	}
	if cty, err := text(h, "cty"); err != nil || strings.EqualFold(cty, "JWT") {
		return errors.New("nested tokens are not supported")
	}
	return nil
}

// decode reads base64url without padding, in its one canonical form: line
// breaks and stray bits at the end would give a token a second spelling.
func decode(s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("not base64url")
	}
	return b, nil
}

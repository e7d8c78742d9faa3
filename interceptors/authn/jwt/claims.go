package jwt

import (
	"errors"
	"fmt"
	"strings"

	"github.com/transomhq/transom/rpc"
)

// principal reads who a token is about.
func (v *Verifier) principal(claims map[string]any) (*rpc.Principal, error) {
	p := &rpc.Principal{Issuer: v.opts.Issuer, Method: "jwt", Claims: claims}
	var err error
	if p.Subject, err = text(claims, v.opts.SubjectClaim); err != nil {
		return nil, err
	}
	if p.Subject == "" {
		return nil, fmt.Errorf("there is no %s", v.opts.SubjectClaim)
	}
	if p.CredentialID, err = text(claims, "jti"); err != nil {
		return nil, err
	}
	for _, name := range v.opts.ScopeClaims {
		if _, ok := claims[name]; !ok {
			continue
		}
		if p.Scopes, err = words(claims, name); err != nil {
			return nil, err
		}
		break
	}
	for _, path := range v.opts.RoleClaims {
		roles, err := wordsAt(claims, path)
		if err != nil {
			return nil, err
		}
		p.Roles = append(p.Roles, roles...)
	}
	for _, name := range v.opts.ConsumerClaims {
		if p.Consumer, err = text(claims, name); err != nil {
			return nil, err
		}
		if p.Consumer != "" {
			break
		}
	}
	return p, nil
}

// words returns a claim that is a list, or a text with spaces.
func words(o map[string]any, name string) ([]string, error) {
	list, err := texts(o, name)
	if _, one := o[name].(string); one {
		return strings.Fields(o[name].(string)), err
	}
	return list, err
}

// wordsAt follows the dots of path. A claim whose name has the dots itself, as
// those that are addresses do, comes first.
func wordsAt(o map[string]any, path string) ([]string, error) {
	if _, ok := o[path]; ok {
		return words(o, path)
	}
	name, rest, ok := strings.Cut(path, ".")
	if !ok {
		return nil, nil
	}
	switch inner := o[name].(type) {
	case nil:
		return nil, nil
	case map[string]any:
		return wordsAt(inner, rest)
	}
	return nil, errors.New(name + " is not an object")
}

package authn

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/grpc/metadata"

	"github.com/transomhq/transom/rpc"
)

// Forward names the metadata keys that tell a backend who is calling; "" tells
// it nothing. Values are ASCII: other bytes, and "%", are percent-encoded.
type Forward struct {
	Subject, Issuer, Scopes, Roles, Consumer, Credential string
	// Claims are claims by name, each with its key. Only texts, numbers and
	// booleans are told.
	Claims map[string]string
}

// Keys returns the metadata keys in use. A backend believes them, so nobody
// else may set them.
func (f *Forward) Keys() []string {
	var keys []string
	for _, key := range []string{f.Subject, f.Issuer, f.Scopes, f.Roles, f.Consumer, f.Credential} {
		if key != "" {
			keys = append(keys, strings.ToLower(key))
		}
	}
	for _, key := range f.Claims {
		keys = append(keys, strings.ToLower(key))
	}
	return keys
}

// add returns the context of a call whose backend is told who calls.
func (f *Forward) add(ctx context.Context, p *rpc.Principal) context.Context {
	if p == nil {
		return ctx
	}
	var pairs []string
	tell := func(key, value string) {
		if key != "" && value != "" {
			pairs = append(pairs, key, ascii(value))
		}
	}
	tell(f.Subject, p.Subject)
	tell(f.Issuer, p.Issuer)
	if f.Scopes != "" {
		tell(f.Scopes, strings.Join(p.Scopes, " "))
	}
	if f.Roles != "" {
		tell(f.Roles, strings.Join(p.Roles, " "))
	}
	tell(f.Consumer, p.Consumer)
	tell(f.Credential, p.CredentialID)
	for claim, key := range f.Claims {
		tell(key, scalar(p.Claims[claim]))
	}
	if len(pairs) == 0 {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, pairs...)
}

func scalar(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool, float64, int64:
		return fmt.Sprint(v)
	}
	return ""
}

// ascii percent-encodes what metadata cannot carry.
func ascii(s string) string {
	plain := true
	for i := range len(s) {
		plain = plain && s[i] >= ' ' && s[i] <= '~' && s[i] != '%'
	}
	if plain {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= ' ' && c <= '~' && c != '%' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

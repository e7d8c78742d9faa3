package ratelimit

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/reflect/protoreflect"

	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
)

// maxKeyBytes bounds what a client can make a store remember of a key. A
// longer value is known by its digest.
const maxKeyBytes = 128

// A key says who a call's units are taken from, as "kind:value"; the kind
// keeps values of different origin apart. "" is a call that has no such value.
type key struct {
	of func(*caller) (string, error)
	// reads says that the request message is looked at.
	reads bool
}

// value returns the call's key; one that has none is known by its address.
func (k *key) value(c *caller) (string, error) {
	v, err := k.of(c)
	if err != nil || v != "" {
		return v, err
	}
	return byAddress(c)
}

// compileKey compiles p for requests of type in. fallback is the key of a
// limit that names none.
func compileKey(p *policyv1.Key, in protoreflect.MessageDescriptor, fallback *key) (*key, error) {
	switch by := p.GetBy().(type) {
	case nil:
		return fallback, nil
	case *policyv1.Key_Principal:
		return &key{of: byPrincipal}, nil
	case *policyv1.Key_Credential:
		return &key{of: byCredential}, nil
	case *policyv1.Key_Consumer:
		return &key{of: byConsumer}, nil
	case *policyv1.Key_ClientIp:
		return &key{of: byAddress}, nil
	case *policyv1.Key_Global:
		return &key{of: func(*caller) (string, error) { return "global", nil }}, nil
	case *policyv1.Key_Metadata:
		return compileMetadata(by.Metadata)
	case *policyv1.Key_Claim:
		if by.Claim == "" {
			return nil, fmt.Errorf("key.claim: name a claim")
		}
		return &key{of: byClaim(by.Claim)}, nil
	case *policyv1.Key_RequestField:
		return compileField(by.RequestField, in)
	case *policyv1.Key_Cel:
		return compileCEL(by.Cel, in)
	}
	return nil, fmt.Errorf("key: %T is not known", p.GetBy())
}

func byPrincipal(c *caller) (string, error) {
	p := c.principal
	if p == nil || p.Subject == "" {
		return "", nil
	}
	// The length keeps an issuer that ends like a subject from being another's.
	return bounded("principal:" + strconv.Itoa(len(p.Issuer)) + ":" + p.Issuer + "|" + p.Subject), nil
}

func byCredential(c *caller) (string, error) {
	if c.principal == nil || c.principal.CredentialID == "" {
		return "", nil
	}
	return bounded("credential:" + c.principal.CredentialID), nil
}

func byConsumer(c *caller) (string, error) {
	if c.principal == nil || c.principal.Consumer == "" {
		return "", nil
	}
	return bounded("consumer:" + c.principal.Consumer), nil
}

// byOwner is the key of a plan's limits: the consumer, for who the plan is,
// else whoever called.
func byOwner(c *caller) (string, error) {
	if v, err := byConsumer(c); v != "" || err != nil {
		return v, err
	}
	return byPrincipal(c)
}

// byAddress knows an IPv6 client by its /64, of which one host has all.
func byAddress(c *caller) (string, error) {
	addr := c.address()
	if !addr.IsValid() {
		return "clientip:unknown", nil
	}
	addr = addr.Unmap().WithZone("")
	var buf [64]byte
	text := append(buf[:0], "clientip:"...)
	if addr.Is4() {
		return string(addr.AppendTo(text)), nil
	}
	all := addr.As16()
	clear(all[8:])
	return string(append(netip.AddrFrom16(all).AppendTo(text), "/64"...)), nil
}

func compileMetadata(name string) (*key, error) {
	name = strings.ToLower(name)
	if name == "" || strings.HasPrefix(name, ":") || strings.HasPrefix(name, "grpc-") {
		return nil, fmt.Errorf("key.metadata: %q is no metadata key of a client", name)
	}
	prefix := "metadata:" + name + "="
	return &key{of: func(c *caller) (string, error) {
		values := metadata.ValueFromIncomingContext(c.ctx, name)
		if len(values) == 0 || values[0] == "" {
			return "", nil
		}
		return bounded(prefix + values[0]), nil
	}}, nil
}

// byClaim returns the key of a claim, which may lie in another: "org.id".
func byClaim(path string) func(*caller) (string, error) {
	return func(c *caller) (string, error) {
		if c.principal == nil {
			return "", nil
		}
		v, ok := c.principal.Claims[path]
		if !ok {
			v = nested(c.principal.Claims, path)
		}
		text, ok := claimText(v)
		if !ok || text == "" {
			return "", nil
		}
		return bounded("claim:" + path + "=" + text), nil
	}
}

func nested(claims map[string]any, path string) any {
	var v any = claims
	for name := range strings.SplitSeq(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[name]
	}
	return v
}

// claimText returns the text of a claim that has one: a list or an object
// names nobody.
func claimText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), true
	case int, int64, fmt.Stringer:
		return fmt.Sprint(v), true
	}
	return "", false
}

func compileField(path string, in protoreflect.MessageDescriptor) (*key, error) {
	fields, err := fieldPath(path, in)
	if err != nil {
		return nil, fmt.Errorf("key.request_field: %w", err)
	}
	last := fields[len(fields)-1]
	if last.Message() != nil || last.Cardinality() == protoreflect.Repeated {
		return nil, fmt.Errorf("key.request_field: %q of %s is not a single value", path, in.FullName())
	}
	prefix := "field:" + path + "="
	return &key{reads: true, of: func(c *caller) (string, error) {
		m, err := c.message()
		if err != nil {
			return "", err
		}
		v, ok := valueAt(m, fields)
		if !ok {
			return "", nil
		}
		if last.Kind() == protoreflect.EnumKind {
			return prefix + strconv.Itoa(int(v.Enum())), nil
		}
		return bounded(prefix + v.String()), nil
	}}, nil
}

// bounded returns key, or its beginning and its digest when it is long.
func bounded(key string) string {
	if len(key) <= maxKeyBytes {
		return key
	}
	kind, _, _ := strings.Cut(key, ":")
	sum := sha256.Sum256([]byte(key))
	return kind + ":sha256-" + base64.RawURLEncoding.EncodeToString(sum[:])
}

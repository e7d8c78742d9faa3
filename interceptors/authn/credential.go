package authn

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"

	"google.golang.org/grpc/metadata"

	"github.com/transomhq/transom/rpc"
)

// Credential is what a client shows: a text, or its side of a TLS handshake.
type Credential struct {
	Text string
	TLS  *tls.ConnectionState
}

// Verifier decides about one kind of credential.
type Verifier interface {
	// Verify returns who shows the credential. An error that is a *Refusal is
	// the caller's fault; any other means that nobody can tell now, which is
	// answered UNAVAILABLE. The principal is shared and read-only. Verify is
	// called by many goroutines at once, and returns when ctx is done.
	Verify(ctx context.Context, c Credential) (*rpc.Principal, error)
}

// Authenticator is a verifier with the places where its credentials are.
type Authenticator struct {
	// Name is how policies call it.
	Name string
	// Carriers are where the credential may be. It must not be in two of them.
	Carriers []Carrier
	// Verifier decides about it.
	Verifier Verifier
	// Challenge is what WWW-Authenticate says without parameters: "Bearer",
	// "Basic". Empty: nothing is said.
	Challenge string
}

type carrierKind int

const (
	inHeader carrierKind = iota
	inCarried
	inHandshake
)

// Carrier is a place where a credential may be.
type Carrier struct {
	kind   carrierKind
	name   string // metadata key, or name of a rpc.Carried
	scheme string // of the Authorization header, "" where the value is the credential
}

// Header is the metadata key, or header field, of this name. With a scheme
// ("Bearer"), values of another one are not meant.
func Header(name, scheme string) Carrier {
	return Carrier{kind: inHeader, name: strings.ToLower(name), scheme: scheme}
}

// Query is a query parameter, which the gateway takes off the request.
func Query(name string) Carrier { return Carrier{kind: inCarried, name: "query:" + name} }

// Subprotocol is a WebSocket subprotocol that starts with prefix.
func Subprotocol(prefix string) Carrier {
	return Carrier{kind: inCarried, name: "subprotocol:" + prefix}
}

// ClientCertificate is the certificate that a client showed over TLS.
func ClientCertificate() Carrier { return Carrier{kind: inHandshake} }

// errTwice is about a credential that is there twice: whoever reads the first
// and whoever reads the last would see two callers.
var errTwice = errors.New("the credential was sent more than once")

// find returns the credential that is in the call, if any.
func (a *Authenticator) find(ctx context.Context, call *rpc.Call) (c Credential, found bool, err error) {
	for i := range a.Carriers {
		next, ok, err := a.Carriers[i].find(ctx, call)
		switch {
		case err != nil, ok && found:
			return Credential{}, true, errTwice
		case ok:
			c, found = next, true
		}
	}
	return c, found, nil
}

func (c *Carrier) find(ctx context.Context, call *rpc.Call) (Credential, bool, error) {
	switch c.kind {
	case inHandshake:
		if call.TLS == nil || len(call.TLS.PeerCertificates) == 0 {
			return Credential{}, false, nil
		}
		return Credential{TLS: call.TLS}, true, nil
	case inCarried:
		return findCarried(call.Carried, c.name)
	}
	values := metadata.ValueFromIncomingContext(ctx, c.name)
	if len(values) == 0 {
		return Credential{}, false, nil
	}
	if len(values) > 1 {
		return Credential{}, true, errTwice
	}
	if c.scheme == "" {
		return Credential{Text: values[0]}, true, nil
	}
	text, ok := afterScheme(values[0], c.scheme)
	return Credential{Text: text}, ok, nil
}

func findCarried(all []rpc.Carried, carrier string) (c Credential, found bool, err error) {
	for i := range all {
		if all[i].Carrier != carrier {
			continue
		}
		if found {
			return Credential{}, true, errTwice
		}
		c, found = Credential{Text: all[i].Text}, true
	}
	return c, found, nil
}

// afterScheme returns what follows an authentication scheme, whose name has no
// case (RFC 9110, section 11.1).
func afterScheme(value, scheme string) (string, bool) {
	if len(value) < len(scheme) || !strings.EqualFold(value[:len(scheme)], scheme) {
		return "", false
	}
	rest := value[len(scheme):]
	if rest != "" && rest[0] != ' ' {
		return "", false
	}
	return strings.Trim(rest, " "), true
}

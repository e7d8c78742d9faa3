package mtls

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/transomhq/transom/interceptors/authn"
	"github.com/transomhq/transom/rpc"
)

// Name is what of a certificate names its owner.
type Name int

// The names that a certificate may have.
const (
	SPIFFE     Name = iota // the one SPIFFE ID among its URIs (X.509-SVID, section 2)
	DNS                    // the first DNS name
	CommonName             // the common name of its subject
	Subject                // the whole subject (RFC 2253)
)

// Options say whose certificates are accepted, of those that the handshake has
// verified.
type Options struct {
	Name Name
	// Allow are names that may call: whole ones, "spiffe://shop.example/*" with
	// all below, or "*.internal" for DNS names. Empty: all.
	Allow []string
}

// Verifier reads client certificates.
type Verifier struct{ opts Options }

var _ authn.Verifier = (*Verifier)(nil)

// New returns a verifier.
func New(opts Options) *Verifier { return &Verifier{opts} }

// Verify returns who the certificate of a handshake names. One that no
// configured authority vouches for is refused.
func (v *Verifier) Verify(_ context.Context, c authn.Credential) (*rpc.Principal, error) {
	if c.TLS == nil || len(c.TLS.VerifiedChains) == 0 || len(c.TLS.VerifiedChains[0]) == 0 {
		return nil, authn.Refuse(authn.Invalid, "the client certificate is not verified: the listener accepts those of its client_ca", nil)
	}
	leaf := c.TLS.VerifiedChains[0][0]
	if time.Now().After(leaf.NotAfter) { // a connection may outlive it
		return nil, authn.Refuse(authn.Expired, "the client certificate has expired", nil)
	}
	name, err := v.nameOf(leaf)
	if err != nil {
		return nil, authn.Refuse(authn.Invalid, "the client certificate names nobody: "+err.Error(), nil)
	}
	if !v.allows(name) {
		return nil, authn.Refuse(authn.Invalid, "the client certificate is not one that may call", errors.New("name "+name))
	}
	sum := sha256.Sum256(leaf.Raw)
	return &rpc.Principal{
		Subject: name, Issuer: leaf.Issuer.String(), Method: "mtls",
		CredentialID: hex.EncodeToString(sum[:16]), Expiry: leaf.NotAfter,
	}, nil
}

func (v *Verifier) nameOf(leaf *x509.Certificate) (string, error) {
	switch v.opts.Name {
	case DNS:
		if len(leaf.DNSNames) > 0 {
			return leaf.DNSNames[0], nil
		}
		return "", errors.New("it has no DNS name")
	case CommonName:
		if leaf.Subject.CommonName != "" {
			return leaf.Subject.CommonName, nil
		}
		return "", errors.New("it has no common name")
	case Subject:
		if s := leaf.Subject.String(); s != "" {
			return s, nil
		}
		return "", errors.New("it has no subject")
	}
	return spiffeID(leaf.URIs)
}

// spiffeID returns the SPIFFE ID. An SVID has one URI and no more (X.509-SVID,
// section 2), or it would be somebody else to somebody else.
func spiffeID(uris []*url.URL) (string, error) {
	if len(uris) != 1 {
		return "", errors.New("it has not exactly one URI")
	}
	u := uris[0]
	if u.Scheme != "spiffe" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Port() != "" {
		return "", errors.New("its URI is no SPIFFE ID")
	}
	return u.String(), nil
}

func (v *Verifier) allows(name string) bool {
	if len(v.opts.Allow) == 0 {
		return true
	}
	for _, pattern := range v.opts.Allow {
		switch {
		case strings.HasSuffix(pattern, "/*"):
			if strings.HasPrefix(name, strings.TrimSuffix(pattern, "*")) && len(name) > len(pattern)-1 {
				return true
			}
		case strings.HasPrefix(pattern, "*."):
			if strings.HasSuffix(strings.ToLower(name), strings.ToLower(pattern[1:])) && len(name) > len(pattern)-1 {
				return true
			}
		case pattern == name:
			return true
		}
	}
	return false
}

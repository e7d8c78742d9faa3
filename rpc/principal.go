package rpc

import "time"

// Principal is who is calling, as authentication proved it. It is immutable
// once it is on a call.
type Principal struct {
	// Subject identifies the caller at its issuer (JWT "sub", SPIFFE ID, user name).
	Subject string
	// Issuer is who vouches for Subject (JWT "iss", a CA's name, "apikey").
	Issuer string
	// Scopes and Roles are what the caller was granted.
	Scopes, Roles []string
	// Claims are the remaining verified claims, as JSON values.
	Claims map[string]any
	// Consumer is the registered consumer (application) that the credential
	// belongs to, "" where there is none.
	Consumer string
	// CredentialID names the credential without revealing it (JWT "jti", key prefix).
	CredentialID string
	// Method is how the caller proved it: "jwt", "apikey", "mtls", "basic", "introspection".
	Method string
	// Expiry is when the credential ends; zero means never.
	Expiry time.Time
}

// HasScope reports whether the principal was granted scope. A nil principal has none.
func (p *Principal) HasScope(scope string) bool { return p != nil && contains(p.Scopes, scope) }

// HasRole reports whether the principal was granted role. A nil principal has none.
func (p *Principal) HasRole(role string) bool { return p != nil && contains(p.Roles, role) }

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}

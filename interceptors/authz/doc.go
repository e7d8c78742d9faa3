// Package authz decides whether a caller may make a call: by client address,
// scopes, roles, expressions in CEL, and an external authorizer that speaks
// Envoy's ext_authz API.
//
// It runs after the caller is known and before the body is read; a message is
// waited for only where a rule looks at it. It must not find out who is
// calling: it reads the principal on the call's record, and where it finds
// none, the caller is nobody.
package authz

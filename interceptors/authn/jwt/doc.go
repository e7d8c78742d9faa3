// Package jwt verifies JSON Web Tokens: signed ones in the compact form (JWS,
// RFC 7515 and 7519), by keys of the issuer that the configuration names
// (RFC 7517), as the best current practice asks (RFC 8725).
//
// It is asked by authn with a token that was found in a call. A token never
// says how it is to be verified: algorithms and keys are the configuration's,
// and what a header says about keys other than "kid" is not looked at. Keys
// are fetched beside calls, not by them, save for a key that is new.
package jwt

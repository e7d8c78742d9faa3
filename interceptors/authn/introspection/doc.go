// Package introspection asks an authorization server about each token (OAuth
// 2.0 Token Introspection, RFC 7662), and believes its answer for a while. A
// server that is down proves nobody: calls are answered UNAVAILABLE.
package introspection

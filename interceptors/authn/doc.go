// Package authn says who is calling: it finds a credential in the call, has it
// verified, and puts one rpc.Principal on the call's record.
//
// Its place is right after the deadline: the method is known, and no byte of
// the body was read when a call is refused. Its children verify one kind of
// credential each (jwt, apikey, mtls, basic, introspection) or keep what
// several gateways must know (store, revocation).
//
// It must not ask what a caller may do: that is authz. It never writes a
// credential anywhere, be it a log, an error or an answer.
package authn

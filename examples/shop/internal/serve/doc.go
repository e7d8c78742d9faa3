// Package serve is what the shop's services have in common: flags, a gRPC
// server with health and reflection, validation of requests against their
// buf.validate rules, errors with details, and a graceful end.
//
// It knows nothing of the gateway, as any service behind one should.
package serve

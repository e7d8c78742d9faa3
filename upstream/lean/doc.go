// Package lean is a gRPC client transport over HTTP/2 that costs a fraction of
// grpc-go's: a call is written by the goroutine that makes it, together with
// what others have waiting, and read by its connection's one reader; there is
// no hand-off in between (PROTOCOL-HTTP2.md, RFC 9113).
//
// Its place on the way of a request is behind upstream, as one of the
// transports of a cluster: a Pool is a grpc.ClientConnInterface. It balances
// round robin over the addresses that it is given. What grpc-go has beyond
// that (resolvers, balancers, health checks, xDS, compression) it has not.
//
// It must not retry what a backend may have begun.
package lean

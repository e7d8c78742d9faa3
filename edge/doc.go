// Package edge is where requests arrive: sockets, TLS, HTTP/1.1 and HTTP/2 on
// one port, the client's address, the request's id, and every limit that can
// be kept before the method is known.
//
//	accept   connections in all and per client       accept.go
//	intake   PROXY header, TLS, first bytes          intake.go
//	         HTTP/1.1: framing guard, then net/http  conn.go, edge/framing
//	         HTTP/2: x/net/http2
//	open     the call's record, checks, headers      http.go, exchange.go
//	watch    who reads, writes or begins too slowly  watch.go
//	drain    GOAWAY, Connection: close, wait         drain.go
//
// CORS (edge/cors) answers preflights in front of Options.Handler, which knows
// whose policy a path has.
//
// It is the first room on the way of a request. It must not know methods,
// routes, doors or policies, and must not read a body: it hands one Handler
// the request and its open record, and refuses what no method could want.
package edge

// Package websocket is the door for browsers that want streams: RFC 6455 over
// HTTP/1.1, and over HTTP/2 (RFC 8441) where the server below has it.
//
// A socket is one call at a method's own path, or carries many at one path:
//
//	handshake  version, origin, subprotocol, credentials, limits    handshake.go, credentials.go, origin.go
//	one call   the chain runs before the 101: what an interceptor
//	           refuses is refused with an HTTP status               call.go
//	many calls each by its id, with the whole chain and credits     many.go
//	stream     the grpc.ServerStream that the handler gets          stream.go
//	dialect    what a frame says                                    dialect_*.go
//	socket     reads, and writes what waits in one piece            socket.go, writer.go
//	sockets    all of them: limits, pings, idleness, drain          sockets.go
//
// Its place on the way of a request is between the edge and rpc.Handler. It
// must not know bindings, JSON or metadata rules (the REST door lends them
// through Options), nor policies.
package websocket

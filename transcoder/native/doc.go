// Package native is the door of gRPC itself, over HTTP/2 with and without TLS,
// on the port that every other door shares.
//
// Its place on the way of a request is between the edge and rpc.Handler: it
// follows PROTOCOL-HTTP2.md, with grpc-go's server as the measure where that
// text is silent. Messages pass undecoded. It must not decide whether a call
// goes on, look into a message, or read a body before the handler asks for it.
package native

// Package grpcweb is the door of gRPC-Web, binary and text, over HTTP/1.1 and
// HTTP/2: gRPC for browsers, whose trailers are the last frame of the body.
//
// Its place on the way of a request is between the edge and rpc.Handler: it
// follows PROTOCOL-WEB.md. Messages pass undecoded. It must not decide whether
// a call goes on, look into a message, or answer CORS, which is the edge's.
package grpcweb

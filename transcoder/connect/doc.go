// Package connect is the door of the Connect protocol, version 1: unary calls
// as plain HTTP requests, POST or GET, in JSON or protobuf, and streams as
// envelopes, over HTTP/1.1 and HTTP/2.
//
// Its place on the way of a request is between the edge and rpc.Handler: it
// follows the specification at connectrpc.com/docs/protocol. Protobuf passes
// undecoded; JSON is transcoded by the codec's plans. It must not decide
// whether a call goes on, read a body before the handler asks for it, or
// answer CORS, which is the edge's.
package connect

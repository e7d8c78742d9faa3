// Package serverstream is what the doors native, grpcweb and connect hand to
// the handler: a grpc.ServerStream and grpc.ServerTransportStream with
// grpc-go's own rules for headers, trailers, messages and their ends, over
// whatever wire the door speaks; and the turning of HTTP headers into gRPC
// metadata and back.
//
// Its place on the way of a request is between those doors and rpc.Handler. It
// must not know how a door frames a message or ends its answer.
package serverstream

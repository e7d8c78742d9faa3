// Package local serves gRPC services inside the gateway's own process, behind
// the same grpc.ClientConnInterface as any backend: the gateway's health and
// reflection services, and what a program that embeds the gateway registers.
// Calls of them pass every interceptor, like all calls.
//
// It must not open a socket.
package local

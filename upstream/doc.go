// Package upstream is the last room of a request's way: which backend serves
// the method, over which connection, and the relay in both directions.
//
// A cluster is a named set of backends behind one grpc.ClientConnInterface:
// real grpc-go connections with their resolvers, balancers and health checks.
// Messages pass as bytes. Everything that grpc-go says about a failed
// connection stays private; what the backend itself answered passes as it is.
//
// It must not know a door, and must not decide whether a call may go on.
package upstream

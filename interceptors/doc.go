// Package interceptors is the room between the doors and upstream: the method
// is known, the body is unread. Its children are standard grpc-go unary and
// stream interceptors, one folder a concern, which decide whether and how a
// call goes on. They run once for every door, so no door bypasses a policy,
// and each of them works unchanged in a grpc.NewServer of your own.
//
// This package itself only links them: Chain turns a list of interceptors and
// a terminal into the rpc.Handler that every door calls. How a call looks on a
// wire is none of this room's business.
package interceptors

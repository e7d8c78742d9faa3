// Package telemetry counts and records calls: Prometheus metrics by method,
// door and real gRPC code, and one structured line a call. Its interceptors
// are the outermost of the chain, so that they see how every call ended,
// refused ones included; what never became a call (no route, bad framing)
// reaches it through Finish alone.
//
// It must not change a call, and never writes a query string, a credential or
// a message's content anywhere.
package telemetry

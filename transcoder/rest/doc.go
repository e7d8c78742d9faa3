// Package rest is the REST/JSON door: it turns an HTTP request that the router
// matched to a google.api.http binding into a gRPC call, and the call's answer
// into an HTTP response.
//
// Its place on the way of a request is between the router and the chain of
// interceptors. It decides how a call looks on the wire and never whether the
// call goes on: nothing of the body is read before the chain asks for the
// message, so a call that is refused early costs no upload.
//
// There are no message objects here. The body becomes protobuf wire bytes
// (package codec), and what the path and the query say is appended to them as
// wire fields. Three rules keep that honest: a field bound by the path belongs
// to the path alone (guard.go), every value is checked as it is written
// (value.go), and a raw body is walked before anything is appended to it.
//
// The files follow a call: plan.go is what is known of a binding before any
// call; exchange.go is one call; on the request's side header.go, negotiate.go,
// body.go, query.go and path.go; on the response's side answer.go, compress.go
// and failure.go. profile.go holds what differs between profiles.
//
// Streams come through the same door: exchange.Load is a source of one
// message and answer.go a sink of one; stream.go is where sources and sinks of
// many are chosen by form.
package rest

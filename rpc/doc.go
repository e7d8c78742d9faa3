// Package rpc holds the few words that every room of the house shares: a
// method, a binding of it to HTTP, a message that is bytes first, a call and
// its record, a principal, an error, and the handler that every door calls.
//
// Its place on the way of a request is everywhere, so it imports nothing of
// the house. What is not needed by at least two rooms does not belong here.
package rpc

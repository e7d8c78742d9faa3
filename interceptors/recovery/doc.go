// Package recovery turns a panic in an interceptor or handler into one
// INTERNAL error of one call. Its place is near the start of the chain, just
// inside telemetry, so that the call is still counted and logged. It must not
// tell the client what panicked.
package recovery

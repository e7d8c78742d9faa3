// Package gateway is the assembly: the one room that knows all others and the
// order in which a request passes them.
//
//	edge -> router -> transcoder -> interceptors -> upstream
//
// serve.go is that way as one short function; build.go makes the parts from a
// configuration, one small function a room; reload.go swaps a new house for
// the old one. No other room may import this one, and logic that decides
// something belongs in the room it is about, not here.
package gateway

// Package framing follows the requests of one HTTP/1.1 connection in its bytes
// and refuses what two readers could cut up differently (RFC 9112, sections 2,
// 6, 7 and 11.2).
//
// Its place on the way of a request is below net/http: a connection shows every
// byte to a Guard before the server reads it. It is a pure state machine. It
// does no input or output, knows no time, never changes a byte, and never
// decides what a well-framed request may do.
package framing

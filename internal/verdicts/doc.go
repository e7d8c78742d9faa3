// Package verdicts asks the whole gateway the same questions through every
// door: a table of calls, most of which must be refused, is sent as gRPC,
// gRPC-Web, Connect, REST, server-sent events, JSON lines and WebSockets, as
// unary calls and as streams. Every door must give the same code, text and
// details, and count the call once, under its real code.
//
// It holds tests only. `make verdicts` prints the table.
package verdicts

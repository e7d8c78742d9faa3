// Package envelope reads and writes the length-prefixed messages that native
// gRPC, gRPC-Web and Connect streams have in common: a flags byte, a 4-byte
// big-endian length, the payload; and it compresses payloads one by one.
//
// Its place on the way of a request is inside those three doors, between the
// HTTP body and the message's wire bytes. It bounds what it reads and what it
// inflates. It must not know of HTTP headers, calls, or what a payload means.
package envelope

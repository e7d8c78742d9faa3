// Package streams bounds calls that last: how long they may be idle, how old
// they may grow, how long their first answer may take, and what happens when a
// client reads slower than messages come.
//
// Its place is near the door, outside of everything that changes messages, so
// that what waits for a slow client is what it will get. It must not know a
// protocol: the same bounds hold behind every door, and in any gRPC server.
package streams

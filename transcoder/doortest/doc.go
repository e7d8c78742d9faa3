// Package doortest is the other half of a door's tests: a handler that relays
// to a real grpc-go server, and the methods that a server has.
//
// It is test code only. The product's relay lives in the room upstream; a door
// is tested with this small one so that rooms stay strangers.
package doortest

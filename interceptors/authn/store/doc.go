// Package store keeps the small records that several processes must agree on:
// API keys and revocations. The gateway reads them all into memory and asks
// every half second whether something has changed; the command line and other
// gateways write.
//
// It is beside the way of a request: no call ever waits for a store, and one
// that is down changes nothing but that news does not arrive.
package store

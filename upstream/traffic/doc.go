// Package traffic shares a route's calls between subsets of its backends: by
// weight, by what a call carries, along a ramp that stops when its subset does
// badly; and it sends copies of requests elsewhere.
//
// It stands before the relays, at the end of the chain: whoever was refused
// has no subset. What a route has learnt (its ramp, its counts) is a Route,
// which outlives reloads; a Shape is a house's own. How a call reaches the
// backend that was chosen is the relay's.
package traffic

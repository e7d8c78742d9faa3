// Package policy works out which policy applies to a method: the operator's
// rules by selector over the options that the team wrote in proto, over
// defaults, each top-level part with where it came from. It runs when a
// snapshot is built; the interceptors then look policies up by method name.
//
// It must not enforce anything: that is its siblings' work.
package policy

// Package revocation is the list of what was taken back before its time:
// tokens by id, subjects, API keys. authn asks it about every call and every
// running stream.
//
// It must not keep anything itself: the list is a store's, in memory here.
package revocation

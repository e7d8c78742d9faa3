// Package basic verifies user names and passwords (RFC 7617) against bcrypt
// hashes, for small set-ups. Passwords are slow to check on purpose: a right
// one is remembered for a while, as a keyed hash, and few are checked at once.
package basic

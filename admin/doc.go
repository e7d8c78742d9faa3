// Package admin is the second listener: what an operator asks a running
// gateway. Health, readiness, metrics, profiles, routes, the effective
// configuration, the log level.
//
// It is not on the way of a request: no client of an API ever reaches it, and
// it must not be needed to serve one. It knows no other room: everything it
// shows comes from functions that it is given, and it never masks secrets
// itself, since it does not know which they are.
package admin

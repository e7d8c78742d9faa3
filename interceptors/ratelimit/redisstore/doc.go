// Package redisstore keeps the counts of package ratelimit in Redis 7 or
// Valkey, so that many gateways share their limits exactly: one script asks
// and takes all limits of a call at once, by the server's clock.
//
// Its place is behind ratelimit.Shared, which bounds how long it may take and
// says what happens when it fails. It must not decide that itself: it answers,
// or it returns an error.
package redisstore

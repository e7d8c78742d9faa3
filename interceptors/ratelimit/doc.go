// Package ratelimit decides how often a caller may call: smooth rates (GCRA),
// counted quotas and concurrency, in this process or shared through Redis.
//
// Its place in the chain is after authentication, because most limits belong
// to a caller, and before the body is read. A refusal is RESOURCE_EXHAUSTED
// with RetryInfo and QuotaFailure, whatever the door; every limited answer
// says what is left (RateLimit and RateLimit-Policy, draft-ietf-httpapi-ratelimit-headers).
//
// The arithmetic (gcra.go, quota.go) is functions of values with the time as
// an argument. It must not ask who the caller is: others proved that.
package ratelimit

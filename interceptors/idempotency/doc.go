// Package idempotency answers a repeated call as the first was answered, when
// both bring the same Idempotency-Key (draft-ietf-httpapi-idempotency-key-header).
// It stands last before the call goes upstream: who is refused by any other
// concern is refused again, and no answer is kept for them.
//
// It must not repeat calls itself; that is upstream's work.
package idempotency

// Package apikey makes and verifies API keys of the form
//
//	tk_<prefix>_<secret>
//
// The prefix names the key to people and in logs; of the secret only a salted
// hash is kept. A secret is 256 random bits, so a fast hash is a safe one.
//
// It is asked by authn with a key that was found in a call. All keys are in
// memory: no call waits for a store.
package apikey

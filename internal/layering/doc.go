// Package layering is the law of the house as a test: which package may import
// which, and why. It has no other code; run it with
//
//	go test ./internal/layering
package layering

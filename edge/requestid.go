package edge

import (
	"encoding/hex"
	"math/rand/v2"
)

const requestIDField = "X-Request-Id"

// newRequestID returns 128 random bits as 32 hexadecimal digits. The generator
// is the runtime's ChaCha8; an id is a name, not a secret.
func newRequestID() string {
	var b [16]byte
	var text [32]byte
	hi, lo := rand.Uint64(), rand.Uint64()
	for i := range 8 {
		b[i], b[8+i] = byte(hi>>(8*i)), byte(lo>>(8*i))
	}
	hex.Encode(text[:], b[:])
	return string(text[:])
}

// validRequestID reports whether id is short and harmless in logs, headers and
// file names: 1 to 128 letters, digits, ".", "_", "-", "=", "+", ":" and "/".
func validRequestID(id string) bool {
	if len(id) == 0 || len(id) > 128 {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.', c == '_', c == '-', c == '=', c == '+', c == ':', c == '/':
		default:
			return false
		}
	}
	return true
}

package serverstream

import (
	"encoding/base64"
	"strconv"
	"unicode/utf8"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// StatusFields returns a status as gRPC's trailers spell it: grpc-status,
// grpc-message (percent-encoded, "" for none) and grpc-status-details-bin
// (base64, "" for none).
func StatusFields(st *status.Status) (code, message, details string) {
	code, message = strconv.Itoa(int(st.Code())), EncodeMessage(st.Message())
	if p := st.Proto(); len(p.GetDetails()) > 0 {
		if b, err := proto.Marshal(p); err == nil {
			details = base64.RawStdEncoding.EncodeToString(b)
		}
	}
	return code, message, details
}

// EncodeMessage percent-encodes a grpc-message: everything but printable ASCII,
// and the percent sign itself. What is not UTF-8 becomes U+FFFD.
func EncodeMessage(s string) string {
	const hex = "0123456789ABCDEF"
	i := 0
	for i < len(s) && s[i] >= ' ' && s[i] <= '~' && s[i] != '%' {
		i++
	}
	if i == len(s) {
		return s
	}
	out := append(make([]byte, 0, len(s)+16), s[:i]...)
	for _, r := range s[i:] {
		if r >= ' ' && r <= '~' && r != '%' {
			out = append(out, byte(r))
			continue
		}
		var enc [utf8.UTFMax]byte
		for _, c := range utf8.AppendRune(enc[:0], r) {
			out = append(out, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(out)
}

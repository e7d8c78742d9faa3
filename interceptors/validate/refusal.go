package validate

import (
	"fmt"
	"strings"
	"unicode/utf8"

	validatepb "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/transomhq/transom/rpc"
)

// Details travel in a header field of gRPC, which peers bound to 8 KiB and
// less: so much of them is told, in base64.
const (
	maxDetails = 5 << 10
	maxText    = 300
)

// refusal is INVALID_ARGUMENT with what is wrong as google.rpc.BadRequest, and
// as buf.validate.Violations for programs that know the rules.
func refusal(broken *protovalidate.ValidationError) error {
	bad, all := &errdetails.BadRequest{}, &validatepb.Violations{}
	size := 0
	for _, v := range broken.Violations {
		one := &errdetails.BadRequest_FieldViolation{
			Field: cut(fieldOf(v)), Description: cut(textOf(v)), Reason: reasonOf(v.Proto.GetRuleId()),
		}
		size += proto.Size(one) + proto.Size(v.Proto)
		if size > maxDetails && len(bad.GetFieldViolations()) > 0 {
			break
		}
		bad.FieldViolations = append(bad.FieldViolations, one)
		if size <= maxDetails {
			all.Violations = append(all.Violations, v.Proto)
		}
	}
	return rpc.Errorf(codes.InvalidArgument, "invalid request: %s", summary(broken.Violations)).WithDetails(bad, all)
}

// summary says what is wrong in one line: the first violation, and how many
// more there are.
func summary(vs []*protovalidate.Violation) string {
	if len(vs) == 0 {
		return "a rule does not hold"
	}
	text := cut(textOf(vs[0]))
	if field := fieldOf(vs[0]); field != "" {
		text = cut(field) + ": " + text
	}
	if more := len(vs) - 1; more > 0 {
		text += fmt.Sprintf(" (and %d more)", more)
	}
	return text
}

// fieldOf returns the path of the field, "product.tags[3]"; "" for a rule of
// the whole message.
func fieldOf(v *protovalidate.Violation) string {
	return protovalidate.FieldPathString(v.Proto.GetField())
}

func textOf(v *protovalidate.Violation) string {
	if text := v.Proto.GetMessage(); text != "" {
		return text
	}
	return "the rule " + v.Proto.GetRuleId() + " does not hold"
}

// reasonOf writes a rule's id, "string.min_len", as reasons are written:
// "STRING_MIN_LEN" (google.rpc.BadRequest.FieldViolation.reason).
func reasonOf(id string) string {
	if len(id) == 0 || len(id) > 63 {
		return ""
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, id)
}

// cut bounds a text that may hold what a client wrote.
func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	end := maxText
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "..."
}

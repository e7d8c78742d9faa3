package rest

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/transcoder/codec"
)

// violations collects what is wrong with a request, up to a page of it.
type violations struct {
	list []*errdetails.BadRequest_FieldViolation
}

const maxViolations = 20

// add notes that field, a path in the request message or the name that the
// client used, is wrong; text says so to the client.
func (v *violations) add(field, text string) {
	if !v.full() {
		v.list = append(v.list, &errdetails.BadRequest_FieldViolation{Field: field, Description: text})
	}
}

func (v *violations) full() bool { return len(v.list) >= maxViolations }

// err returns the refusal, nil when nothing is wrong.
func (v *violations) err() error {
	if len(v.list) == 0 {
		return nil
	}
	text := v.list[0].Description
	if n := len(v.list) - 1; n > 0 {
		text += fmt.Sprintf(" (and %d more, see details)", n)
	}
	return rpc.Errorf(codes.InvalidArgument, "%s", text).WithDetails(&errdetails.BadRequest{FieldViolations: v.list})
}

// violation is the refusal of one field.
func violation(field, format string, args ...any) error {
	var v violations
	v.add(field, fmt.Sprintf(format, args...))
	return v.err()
}

// badText is the refusal of a body that the codec did not take. prefix is the
// field that the body fills, "" for the whole message.
func badText(prefix string, err error) error {
	var ce *codec.Error
	if !errors.As(err, &ce) {
		return rpc.Errorf(codes.InvalidArgument, "request body: not a valid message").WithCause(err)
	}
	field := prefix
	for part := range strings.SplitSeq(ce.Pointer, "/") {
		if part == "" {
			continue
		}
		if field != "" {
			field += "."
		}
		field += unescapePointer(part)
	}
	where := *ce
	where.Pointer, where.Reason = clipTo(ce.Pointer, 120), clip(ce.Reason)
	return violation(clip(field), "request body: %s", where.Error())
}

// unescapePointer undoes the escapes of a JSON pointer's part (RFC 6901, section 4).
func unescapePointer(part string) string {
	if strings.IndexByte(part, '~') < 0 {
		return part
	}
	return strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
}

// clip makes s fit for a message to a client: valid UTF-8 of bounded length.
func clip(s string) string { return clipTo(s, 300) }

func clipTo(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

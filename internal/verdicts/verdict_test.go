package verdicts_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

// verdict is what a client learns of how its call ended, whichever door it
// used. Waits are left out: they are shorter the later one asks.
type verdict struct {
	code    codes.Code
	reason  string // of google.rpc.ErrorInfo
	message string
	details string // all of them, as text
}

func (v verdict) String() string {
	return fmt.Sprintf("%s %q %s", v.code, v.message, v.details)
}

var waits = regexp.MustCompile(`try again in [0-9hms.]+`)

// verdictOf reads a status; caller is who called, whom details may name.
func verdictOf(st *spb.Status, caller string) verdict {
	v := verdict{code: codes.Code(st.GetCode()), message: waits.ReplaceAllString(st.GetMessage(), "try again in ...")}
	var details []string
	for _, d := range st.GetDetails() {
		m, err := d.UnmarshalNew()
		if err != nil {
			details = append(details, d.GetTypeUrl()+" "+err.Error())
			continue
		}
		switch m := m.(type) {
		case *errdetails.ErrorInfo:
			v.reason = m.GetReason()
		case *errdetails.RetryInfo:
			if m.GetRetryDelay().AsDuration() > 0 {
				m.RetryDelay = &durationpb.Duration{Seconds: 1}
			}
		}
		if d.GetTypeUrl() != "type.googleapis.com/"+string(m.ProtoReflect().Descriptor().FullName()) {
			details = append(details, "an odd type: "+d.GetTypeUrl())
		}
		var text bytes.Buffer
		raw, err := protojson.Marshal(m)
		if err == nil {
			err = json.Compact(&text, raw)
		}
		if err != nil {
			details = append(details, err.Error())
		}
		details = append(details, fmt.Sprintf("%s%s", m.ProtoReflect().Descriptor().Name(), &text))
	}
	v.details = strings.ReplaceAll(strings.Join(details, " "), caller, "<caller>")
	return v
}

// strange is the verdict of an answer that says nothing.
func strange(format string, args ...any) verdict {
	return verdict{code: codes.Code(99), message: fmt.Sprintf(format, args...)}
}

// ofJSON reads a google.rpc.Status in JSON.
func ofJSON(text []byte, caller string) verdict {
	var st spb.Status
	if err := protojson.Unmarshal(text, &st); err != nil {
		return strange("%v: %s", err, text)
	}
	return verdictOf(&st, caller)
}

// ofConnect reads an error of the Connect protocol.
func ofConnect(text []byte, caller string) verdict {
	var e struct {
		Code, Message string
		Details       []struct{ Type, Value string }
	}
	if err := json.Unmarshal(text, &e); err != nil {
		return strange("%v: %s", err, text)
	}
	var code codes.Code
	name := strings.ToUpper(e.Code)
	if name == "CANCELED" {
		name = "CANCELLED"
	}
	if err := code.UnmarshalJSON([]byte(`"` + name + `"`)); err != nil {
		return strange("%v: %s", err, text)
	}
	st := &spb.Status{Code: int32(code), Message: e.Message}
	for _, d := range e.Details {
		value, err := base64.RawStdEncoding.DecodeString(d.Value)
		if err != nil {
			return strange("%v: %s", err, text)
		}
		st.Details = append(st.Details, &anypb.Any{TypeUrl: "type.googleapis.com/" + d.Type, Value: value})
	}
	return verdictOf(st, caller)
}

// codeName spells a code as metrics do.
func codeName(c codes.Code) string {
	var out strings.Builder
	if c == codes.OK {
		return "OK"
	}
	if c == codes.Canceled {
		return "CANCELLED"
	}
	for i, r := range c.String() {
		if i > 0 && 'A' <= r && r <= 'Z' {
			out.WriteByte('_')
		}
		out.WriteRune(r)
	}
	return strings.ToUpper(out.String())
}

package oracle

import (
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

// Pair is a case with what came of it at both gateways.
type Pair struct {
	*Case
	Oracle, Transom *Outcome
}

// Mismatches says in which aspects the outcomes differ, in one line each. The
// first word names the aspect: status, body, header, trailer, broken, calls,
// message, metadata, timeout.
func (p *Pair) Mismatches() []string {
	var all []string
	differ := func(aspect string, oracle, transom any) {
		all = append(all, fmt.Sprintf("%s: oracle %v, transom %v", aspect, oracle, transom))
	}
	if p.Oracle.Status != p.Transom.Status {
		differ("status", p.Oracle.Status, p.Transom.Status)
	}
	if !p.sameBody() {
		differ("body", fmt.Sprintf("%q", p.Oracle.Body), fmt.Sprintf("%q", p.Transom.Body))
	}
	if a, b := p.Oracle.mappedHeader(), p.Transom.mappedHeader(); !reflect.DeepEqual(a, b) {
		differ("header", a, b)
	}
	if a, b := p.Oracle.Trailer, p.Transom.Trailer; !maps.EqualFunc(a, b, slices.Equal) {
		differ("trailer", a, b)
	}
	if a, b := p.Oracle.Broken != nil, p.Transom.Broken != nil; a != b {
		differ("broken", p.Oracle.Broken, p.Transom.Broken)
	}
	if len(p.Oracle.Calls) != len(p.Transom.Calls) {
		differ("calls", len(p.Oracle.Calls), len(p.Transom.Calls))
		return all
	}
	for i := range p.Oracle.Calls {
		all = append(all, callMismatches(&p.Oracle.Calls[i], &p.Transom.Calls[i])...)
	}
	return all
}

// refused reports whether the gateway refused the case itself, in its own words.
func (o *Outcome) refused() bool { return len(o.Calls) == 0 }

// sameBody compares JSON as values and everything else as bytes. The texts and
// details of the gateways' own refusals are their own: only their code counts.
func (p *Pair) sameBody() bool {
	a, b := p.Oracle.JSON(), p.Transom.JSON()
	if a == nil || b == nil {
		return string(p.Oracle.Body) == string(p.Transom.Body)
	}
	if p.Oracle.refused() && p.Transom.refused() {
		return reflect.DeepEqual(errorCode(a), errorCode(b))
	}
	return reflect.DeepEqual(a, b)
}

func errorCode(values []any) any {
	if len(values) != 1 {
		return values
	}
	if object, ok := values[0].(map[string]any); ok {
		return object["code"]
	}
	return values
}

func callMismatches(oracle, transom *Call) []string {
	var all []string
	if oracle.Method != transom.Method {
		all = append(all, fmt.Sprintf("method: oracle %s, transom %s", oracle.Method, transom.Method))
	}
	if !slices.EqualFunc(oracle.Messages, transom.Messages, proto.Equal) {
		all = append(all, fmt.Sprintf("message: oracle %s, transom %s", texts(oracle.Messages), texts(transom.Messages)))
	}
	if a, b := fromClient(oracle.Metadata), fromClient(transom.Metadata); !reflect.DeepEqual(a, b) {
		all = append(all, fmt.Sprintf("metadata: oracle %v, transom %v", a, b))
	}
	// Both give the time that the client gave, less what has passed.
	if a, b := oracle.Timeout, transom.Timeout; (a == 0) != (b == 0) || (a-b).Abs() > 5*time.Second {
		all = append(all, fmt.Sprintf("timeout: oracle %s, transom %s", a, b))
	}
	if a, b := oracle.Err != nil, transom.Err != nil; a != b {
		all = append(all, fmt.Sprintf("ended: oracle %v, transom %v", oracle.Err, transom.Err))
	}
	return all
}

func texts(messages []proto.Message) string {
	var all []string
	for _, m := range messages {
		all = append(all, "{"+prototext.MarshalOptions{}.Format(m)+"}")
	}
	return strings.Join(all, ", ")
}

// fromClient returns the metadata that comes from the client's request, not
// from the connection between gateway and upstream.
func fromClient(md metadata.MD) http.Header {
	all := http.Header{}
	for key, values := range md {
		switch key {
		case ":authority", "content-type", "user-agent", "grpc-accept-encoding", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-request-id", "traceparent", "grpc-previous-rpc-attempts":
			continue
		}
		all[key] = slices.Sorted(slices.Values(values))
	}
	return all
}

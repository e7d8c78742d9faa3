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

// Mismatch is one aspect in which the outcomes of a pair differ.
type Mismatch struct {
	// Aspect is status, body, trailer, broken, calls, method, message,
	// timeout, ended, "header NAME" or "metadata KEY".
	Aspect          string
	Oracle, Transom string
}

// String returns the mismatch as one line.
func (m Mismatch) String() string {
	return fmt.Sprintf("%s: oracle %s, transom %s", m.Aspect, m.Oracle, m.Transom)
}

// mismatches collects what differs.
type mismatches []Mismatch

func (all *mismatches) add(aspect string, oracle, transom any) {
	*all = append(*all, Mismatch{aspect, fmt.Sprint(oracle), fmt.Sprint(transom)})
}

// fields compares header fields or metadata name by name.
func (all *mismatches) fields(aspect string, oracle, transom http.Header) {
	names := map[string]bool{}
	for name := range oracle {
		names[name] = true
	}
	for name := range transom {
		names[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if !slices.Equal(oracle[name], transom[name]) {
			all.add(aspect+" "+name, oracle[name], transom[name])
		}
	}
}

// Mismatches says in which aspects the outcomes differ.
func (p *Pair) Mismatches() []Mismatch {
	var all mismatches
	if a, b := len(p.Oracle.Calls), len(p.Transom.Calls); a != b {
		// One refused what the other passed on: all else follows from that.
		all.add("calls", fmt.Sprintf("%d, %d %.200s", a, p.Oracle.Status, p.Oracle.Body), fmt.Sprintf("%d, %d %.200s", b, p.Transom.Status, p.Transom.Body))
		return all
	}
	if p.Oracle.Status != p.Transom.Status {
		all.add("status", p.Oracle.Status, p.Transom.Status)
	}
	if !p.sameBody() {
		all.add("body", fmt.Sprintf("%q", p.Oracle.Body), fmt.Sprintf("%q", p.Transom.Body))
	}
	all.fields("header", p.Oracle.mappedHeader(), p.Transom.mappedHeader())
	all.fields("trailer", p.Oracle.Trailer, p.Transom.Trailer)
	if a, b := p.Oracle.Broken, p.Transom.Broken; (a == nil) != (b == nil) {
		all.add("broken", a, b)
	}
	for i := range p.Oracle.Calls {
		all.call(&p.Oracle.Calls[i], &p.Transom.Calls[i])
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

// call compares two calls as upstream saw them.
func (all *mismatches) call(oracle, transom *Call) {
	if oracle.Method != transom.Method {
		all.add("method", oracle.Method, transom.Method)
	}
	if !slices.EqualFunc(oracle.Messages, transom.Messages, proto.Equal) {
		all.add("message", texts(oracle.Messages), texts(transom.Messages))
	}
	all.fields("metadata", fromClient(oracle.Metadata), fromClient(transom.Metadata))
	// Both give the time that the client gave, less what has passed.
	if a, b := oracle.Timeout, transom.Timeout; (a == 0) != (b == 0) || (a-b).Abs() > 5*time.Second {
		all.add("timeout", a, b)
	}
	if a, b := oracle.Err, transom.Err; (a == nil) != (b == nil) {
		all.add("ended", a, b)
	}
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

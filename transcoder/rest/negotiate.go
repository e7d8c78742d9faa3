package rest

import (
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/transomhq/transom/rpc"
)

// form is how a response looks.
type form struct {
	kind  formKind
	media string // its Content-Type
}

type formKind int

const (
	formJSON formKind = iota
	formProto
)

const (
	mediaJSON    = "application/json"
	mediaProto   = "application/x-protobuf"
	mediaProblem = "application/problem+json"
)

// negotiate chooses the form of the response (RFC 9110, section 12.5.1). What
// a google.api.HttpBody holds is the backend's choice, so anything goes there.
func (x *exchange) negotiate() (form, error) {
	accept := x.r.Header["Accept"]
	if len(accept) == 0 || x.plan.out.httpBody || len(accept) == 1 && (accept[0] == mediaJSON || accept[0] == "*/*") {
		return form{formJSON, mediaJSON}, nil
	}
	ranges := parseAccept(accept)
	offers := []form{{formJSON, mediaJSON}, {formProto, mediaProto}, {formProto, "application/proto"}, {formProto, "application/protobuf"}}
	if x.plan.out.message == nil {
		offers = offers[:1]
	}
	if f, ok := choose(ranges, offers); ok {
		return f, nil
	}
	// Whoever reads problems reads JSON, and an empty list says nothing.
	problem, spec := weight(ranges, mediaProblem)
	if x.door.opts.Profile != Strict || len(ranges) == 0 || problem > 0 && spec == 3 {
		return form{formJSON, mediaJSON}, nil
	}
	text := "Accept: this method answers application/json"
	if len(offers) > 1 {
		text += " or application/x-protobuf"
	}
	return form{}, rpc.Errorf(codes.InvalidArgument, "%s", text).WithHTTPStatus(http.StatusNotAcceptable)
}

// mediaRange is one element of Accept.
type mediaRange struct {
	media string // lower case, without parameters
	q     int    // in thousandths
}

// maxRanges bounds what one Accept is searched for.
const maxRanges = 64

func parseAccept(values []string) []mediaRange {
	var ranges []mediaRange
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			media, params, _ := strings.Cut(part, ";")
			if media = strings.ToLower(strings.TrimSpace(media)); media == "" {
				continue
			}
			if ranges = append(ranges, mediaRange{media, quality(params)}); len(ranges) == maxRanges {
				return ranges
			}
		}
	}
	return ranges
}

// quality returns the weight among parameters, in thousandths; 1000 when there
// is none, 0 when it is malformed.
func quality(params string) int {
	for p := range strings.SplitSeq(params, ";") {
		name, value, ok := strings.Cut(strings.TrimSpace(p), "=")
		if !ok || !strings.EqualFold(strings.TrimSpace(name), "q") {
			continue
		}
		q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || !(q >= 0 && q <= 1) {
			return 0
		}
		return int(q * 1000)
	}
	return 1000
}

// specificity says how exactly r names media: 3 for its very name, 1 for
// "*/*", 0 when it does not match.
func (r mediaRange) specificity(media string) int {
	switch {
	case r.media == media:
		return 3
	case r.media == "*/*", r.media == "*":
		return 1
	case strings.HasSuffix(r.media, "/*") && strings.HasPrefix(media, r.media[:len(r.media)-1]):
		return 2
	}
	return 0
}

// choose returns the offer that the client likes best: by weight, then by how
// exactly it was named, then by the client's order, then by ours.
func choose(ranges []mediaRange, offers []form) (form, bool) {
	var best form
	bestQ, bestSpec, bestAt := 0, 0, 0
	for _, o := range offers {
		q, spec, at := 0, 0, 0
		for i, r := range ranges {
			if s := r.specificity(o.media); s > spec {
				q, spec, at = r.q, s, i
			}
		}
		if q > bestQ || q == bestQ && q > 0 && (spec > bestSpec || spec == bestSpec && at < bestAt) {
			best, bestQ, bestSpec, bestAt = o, q, spec, at
		}
	}
	return best, bestQ > 0
}

// weight returns how much the client wants media, and how exactly it named it.
func weight(ranges []mediaRange, media string) (q, spec int) {
	for _, r := range ranges {
		if s := r.specificity(media); s > spec {
			q, spec = r.q, s
		}
	}
	return q, spec
}

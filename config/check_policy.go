package config

import (
	"net/http"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
)

// checkHeaders refuses what no allow-list may let through.
func (f *File) checkHeaders() {
	h := f.Config.GetHeaders()
	for i, name := range h.GetRequest() {
		f.checkCrossing(name, element("headers.request", i))
	}
	for i, name := range h.GetResponse() {
		f.checkCrossing(name, element("headers.response", i))
	}
}

// checkCrossing refuses fields that are about one connection (RFC 9110,
// section 7.6.1) or that gRPC speaks for itself with.
func (f *File) checkCrossing(name, path string) {
	switch lower := strings.ToLower(name); lower {
	case "connection", "proxy-connection", "keep-alive", "te", "transfer-encoding", "upgrade", "trailer", "host", "content-length":
		f.wrong(path, "%s is about one connection and never crosses the gateway", http.CanonicalHeaderKey(name))
	default:
		if strings.HasPrefix(lower, "grpc-") || strings.HasPrefix(lower, ":") {
			f.wrong(path, "%s is reserved by gRPC", quote(name))
		}
	}
}

func (f *File) checkPolicies() {
	for i, rule := range f.Config.GetPolicies() {
		path := join(element("policies", i), "policy")
		if rule.GetPolicy() == nil {
			continue
		}
		f.checkNotNegative(rule.GetPolicy().ProtoReflect(), path)
		f.checkDeadline(rule.GetPolicy().GetDeadline(), join(path, "deadline"))
		f.checkRetry(rule.GetPolicy().GetUpstream().GetRetry(), join(path, "upstream.retry"))
		f.checkLimitsOf(rule.GetPolicy().GetLimits(), join(path, "limits"))
		f.checkAddresses(rule.GetPolicy().GetAuthz(), join(path, "authz"))
		f.checkFaults(rule.GetPolicy().GetFaults(), join(path, "faults"))
	}
}

// checkNotNegative refuses negative durations and numbers: no part of a policy
// has a use for one.
func (f *File) checkNotNegative(m protoreflect.Message, path string) {
	walk(m, path, func(m protoreflect.Message, path string) {
		m.Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
			each(m, fd, join(path, string(fd.Name())), func(v protoreflect.Value, fd protoreflect.FieldDescriptor, at string) {
				switch {
				case fd.Kind() == protoreflect.Int32Kind || fd.Kind() == protoreflect.Int64Kind:
					if v.Int() < 0 {
						f.wrong(at, "want at least 0, not %d", v.Int())
					}
				case fd.Message() != nil && fd.Message().FullName() == durationName:
					if d := durationOf(v.Message()); d.GetSeconds() < 0 || d.GetNanos() < 0 {
						f.wrong(at, "want at least 0s, not %s", timeText(v.Message()))
					}
				}
			})
			return true
		})
	})
}

func (f *File) checkDeadline(d *policyv1.Deadline, path string) {
	if d.GetDefault() == nil || d.GetMax() == nil {
		return
	}
	if d.GetDefault().AsDuration() > d.GetMax().AsDuration() {
		f.wrong(join(path, "default"), "%s is more than max, %s",
			formatDuration(d.GetDefault().AsDuration()), formatDuration(d.GetMax().AsDuration()))
	}
}

func (f *File) checkAddresses(a *policyv1.Authz, path string) {
	for i, s := range a.GetAllowIps() {
		if text := cidrMistake(s); text != "" {
			f.wrong(element(join(path, "allow_ips"), i), "%s", text)
		}
	}
	for i, s := range a.GetDenyIps() {
		if text := cidrMistake(s); text != "" {
			f.wrong(element(join(path, "deny_ips"), i), "%s", text)
		}
	}
}

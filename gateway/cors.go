package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"google.golang.org/grpc/codes"

	"github.com/transomhq/transom/config"
	"github.com/transomhq/transom/edge/cors"
	"github.com/transomhq/transom/rpc"
)

// origins say which web pages may call which methods. Without rules, nil, no
// page of another origin may.
type origins struct {
	rules    []originRule // the most specific first
	varies   bool         // caches must tell origins apart
	fallback *cors.Policy // of paths that are no method's
}

type originRule struct {
	selector rpc.Selector
	policy   *cors.Policy
}

func buildCors(file *config.File) (*origins, error) {
	if len(file.Config.GetCors()) == 0 {
		return nil, nil
	}
	o := &origins{}
	var errs []error
	for i, c := range slices.Backward(file.Config.GetCors()) { // of two equal selectors the later wins
		policy, err := cors.New(cors.Options{
			Origins: c.GetOrigins(), Credentials: c.GetCredentials(), RequestHeaders: c.GetRequestHeaders(),
			ResponseHeaders: c.GetResponseHeaders(), MaxAge: c.GetMaxAge().AsDuration(),
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", file.Position(fmt.Sprintf("cors[%d]", i)), err))
			continue
		}
		o.varies = o.varies || policy.Varies()
		for _, s := range c.GetSelectors() {
			selector, err := rpc.ParseSelector(s)
			errs = append(errs, err)
			o.rules = append(o.rules, originRule{selector, policy})
			if selector == "*" && o.fallback == nil {
				o.fallback = policy
			}
		}
	}
	slices.SortStableFunc(o.rules, func(a, b originRule) int {
		return cmp.Compare(b.selector.Specificity(), a.selector.Specificity())
	})
	return o, errors.Join(errs...)
}

// of returns the policy of a method, nil for none.
func (o *origins) of(m *rpc.Method) *cors.Policy {
	if m == nil {
		return o.fallback
	}
	name := m.Selector()
	for _, r := range o.rules {
		if r.selector.Matches(name) {
			return r.policy
		}
	}
	return nil
}

// crossOrigin says to browsers which pages may read the answer. It reports
// whether the request was a preflight, which is answered then.
func (h *house) crossOrigin(w http.ResponseWriter, r *http.Request, call *rpc.Call) bool {
	if h.cors == nil {
		return false
	}
	if h.cors.varies {
		w.Header().Add("Vary", "Origin")
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	if !cors.IsPreflight(r) {
		if policy := h.cors.of(h.methodAt(r.Method, call.Path)); policy != nil {
			policy.Answer(w.Header(), origin)
		}
		return false
	}
	method := h.methodAt(r.Header.Get("Access-Control-Request-Method"), call.Path)
	policy := h.cors.of(method)
	if method == nil || policy == nil {
		return false // there is no such method, or no page of another origin may call it
	}
	h.preflight(w, r, call, policy)
	return true
}

func (h *house) preflight(w http.ResponseWriter, r *http.Request, call *rpc.Call, policy *cors.Policy) {
	if err := policy.Preflight(w.Header(), r); err != nil {
		h.rest.Refuse(w, r, call, rpc.Errorf(codes.PermissionDenied, "%s", err))
		return
	}
	call.Door = "rest"
	w.WriteHeader(http.StatusNoContent)
	call.Update(func(o *rpc.Outcome) { o.HTTPStatus = http.StatusNoContent })
}

// methodAt returns the method that a request means, whatever its door; nil for none.
func (h *house) methodAt(httpMethod, path string) *rpc.Method {
	match := matches.get()
	defer matches.put(match)
	if err := h.router.Match(httpMethod, path, match); err == nil {
		return match.Binding.Method
	}
	return h.methods[path]
}

// readable lets pages read why the edge refused a request, where all may call.
func (o *origins) readable(w http.ResponseWriter, r *http.Request) {
	if origin := r.Header.Get("Origin"); o != nil && o.fallback != nil && origin != "" {
		o.fallback.Answer(w.Header(), origin)
	}
}

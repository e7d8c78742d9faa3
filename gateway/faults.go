package gateway

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
	"github.com/transomhq/transom/interceptors"
	"github.com/transomhq/transom/interceptors/faults"
	"github.com/transomhq/transom/rpc"
)

// maxFaultDelay bounds how long a call can be made to wait.
const maxFaultDelay = 5 * time.Minute

// buildFaults reads which methods fail on purpose. What a team declared next to
// its RPCs is checked here as the operator's file was.
func (g *Gateway) buildFaults(h *house) (interceptors.Interceptor, error) {
	of := map[string]faults.Fault{}
	var errs []error
	for _, m := range h.schema.Methods {
		e := h.policies.Of(m.Name)
		p := e.Policy.GetFaults()
		if p == nil {
			continue
		}
		f, err := faultOf(p)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: policy faults of %s: %w", e.Origins["faults"].Text, m.Selector(), err))
			continue
		}
		of[m.Name] = f
		if f.InsecureWithoutScope {
			h.advice = append(h.advice, fmt.Sprintf("%s: policy faults of %s touches everybody's calls (insecure_without_scope)", e.Origins["faults"].Text, m.Selector()))
		}
	}
	opts := faults.Options{Fault: func(method string) faults.Fault { return of[method] }, Metrics: g.faults}
	return interceptors.Interceptor{
		Unary: faults.Unary(opts), Stream: faults.Stream(opts),
		Applies: func(m *rpc.Method) bool { return !of[m.Name].IsZero() },
	}, errors.Join(errs...)
}

func faultOf(p *policyv1.Faults) (faults.Fault, error) {
	f := faults.Fault{
		Scope: p.GetScope(), InsecureWithoutScope: p.GetInsecureWithoutScope(), Header: strings.ToLower(p.GetHeader()),
		DelayPercent: 100, AbortPercent: 100,
	}
	if f.Scope == "" && !f.InsecureWithoutScope {
		return f, errors.New("it would touch everybody's calls: say the scope that testers have")
	}
	if d := p.GetDelay(); d != nil {
		if f.Delay = d.GetDuration().AsDuration(); f.Delay <= 0 || f.Delay > maxFaultDelay {
			return f, fmt.Errorf("delay.duration: want more than 0s and at most %s", maxFaultDelay)
		}
		if d.Percent != nil {
			f.DelayPercent = d.GetPercent()
		}
	}
	if a := p.GetAbort(); a != nil {
		if err := f.Abort.UnmarshalJSON([]byte(`"` + a.GetCode() + `"`)); err != nil || f.Abort == codes.OK {
			return f, fmt.Errorf("abort.code: %q is not the name of a gRPC code that can fail a call", a.GetCode())
		}
		f.Message = a.GetMessage()
		if a.Percent != nil {
			f.AbortPercent = a.GetPercent()
		}
	}
	if f.IsZero() {
		return f, errors.New("it does nothing: say delay or abort")
	}
	return f, nil
}

package upstream

import (
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	"github.com/transomhq/transom/rpc"
)

// Guard keeps one cluster from being asked more than it can bear: how many
// calls run at once, how many wait for a connection, how many are retries.
type Guard struct {
	maxCalls, maxPending int64
	budget               *Budget
	ready                func() bool // whether any endpoint takes calls

	running, calls, attempts, retries, starved, refused atomic.Int64
}

func newGuard(opts Options, ready func() bool) *Guard {
	percent, least := opts.RetryPercent, opts.MinRetries
	if percent == 0 {
		percent = 20
	}
	if least == 0 {
		least = 10
	}
	return &Guard{
		maxCalls: int64(opts.MaxCalls), maxPending: int64(opts.MaxPending),
		budget: NewBudget(max(percent, 0), max(least, 0)), ready: ready,
	}
}

// enter counts a call in. A call that is refused must not leave.
func (g *Guard) enter(m *rpc.Method) error {
	if g == nil {
		return nil
	}
	running := g.running.Add(1)
	switch {
	case g.maxCalls > 0 && running > g.maxCalls:
		return g.refuse(m, "UPSTREAM_OVERLOADED", "%s is busy with as many calls as it is allowed; try again later")
	case g.maxPending > 0 && running > g.maxPending && !g.ready():
		return g.refuse(m, "UPSTREAM_PENDING_OVERFLOW", "%s cannot be reached now, and enough calls wait for it; try again later")
	}
	g.calls.Add(1)
	g.budget.call(time.Now())
	return nil
}

// leave counts a call out.
func (g *Guard) leave() {
	if g != nil {
		g.running.Add(-1)
	}
}

func (g *Guard) refuse(m *rpc.Method, reason, text string) error {
	g.running.Add(-1)
	g.refused.Add(1)
	return rpc.Errorf(codes.Unavailable, text, m.Service()).WithProxy(rpc.ConnectionLimitReached).
		WithDetails(&errdetails.ErrorInfo{Reason: reason, Domain: "transom", Metadata: map[string]string{"service": m.Service()}})
}

// retry reports whether the cluster's budget has one more retry.
func (g *Guard) retry() bool {
	if !g.budget.take(time.Now()) {
		g.starved.Add(1)
		return false
	}
	g.retries.Add(1)
	return true
}

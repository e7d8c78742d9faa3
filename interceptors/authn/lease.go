package authn

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/transomhq/transom/rpc"
)

// Leases are the streams that run on somebody's credential: each ends with it.
// The zero value is ready for use.
type Leases struct {
	mu      sync.Mutex
	running map[*lease]struct{}
}

// Recheck ends the streams whose credential was revoked meanwhile. Whoever
// keeps the list of revocations calls it when the list has changed.
func (l *Leases) Recheck() {
	l.mu.Lock()
	all := make([]*lease, 0, len(l.running))
	for one := range l.running {
		all = append(all, one)
	}
	l.mu.Unlock()
	for _, one := range all {
		one.check()
	}
}

// Len returns how many streams run on a credential.
func (l *Leases) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.running)
}

func (l *Leases) add(one *lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running == nil {
		l.running = map[*lease]struct{}{}
	}
	l.running[one] = struct{}{}
}

func (l *Leases) remove(one *lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.running, one)
}

// lease is one stream and how long it may go on.
type lease struct {
	guard  *Guard
	call   *rpc.Call
	plan   *plan
	cancel context.CancelFunc
	ended  atomic.Pointer[error] // why it ended

	mu    sync.Mutex // guards what follows
	proof proof
	timer *time.Timer
}

// lease runs a stream for as long as its credential is good.
func (g *Guard) lease(ctx context.Context, call *rpc.Call, p *plan, pr proof, run func(context.Context, *lease) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := &lease{guard: g, call: call, plan: p, cancel: cancel, proof: pr}
	l.extend(pr)
	g.opts.Leases.add(l)
	l.check() // between the proof and add, nobody would have noticed
	call.SetRenewal(l.renew)
	defer l.stop()
	err := run(ctx, l)
	if ended := l.err(); ended != nil {
		return ended
	}
	return err
}

func (l *lease) stop() {
	l.call.SetRenewal(nil)
	l.guard.opts.Leases.remove(l)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
	}
}

// extend lets the stream go on until a proof expires.
func (l *lease) extend(pr proof) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.proof = pr
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	if expiry := pr.principal.Expiry; !expiry.IsZero() {
		l.timer = time.AfterFunc(time.Until(expiry)+l.guard.opts.Grace, func() { l.expire(expiry) })
	}
}

// expire ends the stream, unless it was renewed while the timer fired.
func (l *lease) expire(expiry time.Time) {
	l.mu.Lock()
	current := l.proof.principal.Expiry.Equal(expiry)
	l.mu.Unlock()
	if current {
		l.end(Refuse(Expired, "the credential has expired: the stream ends with it", nil))
	}
}

// check ends the stream if a credential that it runs on is refused by now.
func (l *lease) check() {
	l.mu.Lock()
	pr := l.proof
	l.mu.Unlock()
	for _, p := range append([]*rpc.Principal{pr.principal}, pr.others...) {
		var r *Refusal
		if errors.As(l.guard.check(p), &r) {
			l.end(r)
			return
		}
	}
}

// end ends the stream. Its handler sees a context that is done; what it
// returns is replaced by the reason.
func (l *lease) end(reason *Refusal) {
	err := l.plan.refusal(reason)
	if l.ended.CompareAndSwap(nil, &err) {
		l.cancel()
	}
}

func (l *lease) err() error {
	if err := l.ended.Load(); err != nil {
		return *err
	}
	return nil
}

// renew extends the stream with a fresh credential of the same kind and caller.
func (l *lease) renew(ctx context.Context, credential string) error {
	if err := l.err(); err != nil {
		return err
	}
	l.mu.Lock()
	old := l.proof
	l.mu.Unlock()
	principal, err := l.guard.verify(ctx, old.by, Credential{Text: credential})
	if err != nil {
		return l.plan.refusal(err)
	}
	if principal.Issuer != old.principal.Issuer || principal.Subject != old.principal.Subject {
		return l.plan.refusal(Refuse(Invalid, "the credential is another caller's: a stream cannot change hands", nil))
	}
	next := proof{by: old.by}
	next.add(principal, old.by)
	for _, other := range old.others {
		next.add(other, nil)
	}
	l.extend(next)
	l.call.SetPrincipal(next.principal)
	return nil
}

// stream is a stream that passes nothing after its lease has ended.
type stream struct {
	grpc.ServerStream
	ctx   context.Context
	lease *lease // nil for an anonymous caller
}

func (s *stream) Context() context.Context { return s.ctx }

func (s *stream) SendMsg(m any) error {
	if s.lease != nil {
		if err := s.lease.err(); err != nil {
			return err
		}
	}
	return s.ServerStream.SendMsg(m)
}

func (s *stream) RecvMsg(m any) error {
	if s.lease == nil {
		return s.ServerStream.RecvMsg(m)
	}
	if err := s.lease.err(); err != nil {
		return err
	}
	err := s.ServerStream.RecvMsg(m)
	if ended := s.lease.err(); ended != nil && err != nil && !errors.Is(err, ended) {
		return ended
	}
	return err
}

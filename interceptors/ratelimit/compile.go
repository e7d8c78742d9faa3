package ratelimit

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
)

// limit is a rate or a quota as a method's calls meet it.
type limit struct {
	Limit
	key    *key
	cost   cost
	excess policyv1.Excess
	policy string // its item of RateLimit-Policy
	says   string // for people: `rate "search" of 10 per 1s`
	counts counts
}

// places is a concurrency limit as a method's calls meet it.
type places struct {
	Places
	key    *key
	counts counts
}

// set is everything that one declaration limits.
type set struct {
	limits      []*limit // once a call
	perMessage  []*limit // each message of a stream from the client
	concurrency []*places
	maxBytes    int64
	policy      string // RateLimit-Policy of limits
}

func (s *set) empty() bool {
	return s == nil || len(s.limits) == 0 && len(s.perMessage) == 0 && len(s.concurrency) == 0 && s.maxBytes == 0
}

// limitsRead reports whether a rate or quota of the call needs the request message.
func (s *set) limitsRead() bool {
	return s != nil && slices.ContainsFunc(s.limits, func(l *limit) bool { return l.key.reads || l.cost.reads() })
}

// placesRead reports whether a concurrency limit needs the request message.
func (s *set) placesRead() bool {
	return s != nil && slices.ContainsFunc(s.concurrency, func(p *places) bool { return p.key.reads })
}

// scope is where a declaration stands: whose requests it reads, and whose
// counts its limits without a bucket keep.
type scope struct {
	in       protoreflect.MessageDescriptor
	streams  bool // the method is no unary one
	own      string
	shared   string // before the names of buckets
	plan     string // the plan's name, "" for a method's own limits
	fallback *key
	used     map[string]bool // buckets of the same scope
	buckets  map[string]declared
}

// declared is a bucket as it was first declared: who shares it must agree.
type declared struct{ what, where string }

// compile compiles what p limits.
func (sc *scope) compile(p *policyv1.Limits) (*set, error) {
	s := &set{maxBytes: p.GetMaxRequestBytes()}
	var errs []error
	for i, r := range p.GetRates() {
		l, err := sc.rate(r, i)
		errs = append(errs, at(err, "rates[%d]", i))
		if err != nil {
			continue
		}
		if r.GetPerMessage() && sc.streams {
			s.perMessage = append(s.perMessage, l)
		} else {
			s.limits = append(s.limits, l)
		}
	}
	for i, q := range p.GetQuotas() {
		l, err := sc.quota(q, i)
		errs = append(errs, at(err, "quotas[%d]", i))
		if err == nil {
			s.limits = append(s.limits, l)
		}
	}
	for i, c := range p.GetConcurrency() {
		l, err := sc.places(c, i)
		errs = append(errs, at(err, "concurrency[%d]", i))
		if err == nil {
			s.concurrency = append(s.concurrency, l)
		}
	}
	if len(s.limits)+len(s.perMessage) > MaxLimits/2 {
		errs = append(errs, fmt.Errorf("%d rates and quotas, at most %d", len(s.limits)+len(s.perMessage), MaxLimits/2))
	}
	var items []string
	for _, l := range s.limits {
		if !l.Shadow {
			items = append(items, l.policy)
		}
	}
	s.policy = strings.Join(items, ", ")
	return s, errors.Join(errs...)
}

func at(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}

func (sc *scope) rate(r *policyv1.Rate, i int) (*limit, error) {
	per := r.GetPer().AsDuration()
	rate := &Rate{Requests: r.GetRequests(), Per: per, Burst: r.GetRequests()}
	if r.Burst != nil {
		rate.Burst = r.GetBurst()
	}
	switch {
	case rate.Requests <= 0:
		return nil, fmt.Errorf("requests: want at least 1")
	case per <= 0:
		return nil, fmt.Errorf(`per: want a time, as in "1s"`)
	case rate.Burst <= 0:
		return nil, fmt.Errorf("burst: want at least 1: with less, no call is ever admitted")
	case rate.interval(rate.Burst) > maxWindow:
		return nil, fmt.Errorf("burst: %d flow back in more than a year; write a quota", rate.Burst)
	}
	l := &limit{excess: r.GetExcess()}
	l.Rate = rate
	l.Shadow, l.Failure = r.GetShadow(), failure(r.GetFailureMode())
	what := fmt.Sprintf("%d per %s", rate.Requests, durationText(per))
	if rate.Burst != rate.Requests {
		what += fmt.Sprintf(" with a burst of %d", rate.Burst)
	}
	if r.GetExcess() != policyv1.Excess_EXCESS_UNSPECIFIED && !r.GetPerMessage() {
		return nil, fmt.Errorf("excess: is about the messages of a stream: it needs per_message")
	}
	if err := sc.finish(l, &declaration{r.GetBucket(), "rate", i, what, r.GetKey(), r.Cost, r.GetCostField()}); err != nil {
		return nil, err
	}
	window := rate.interval(rate.Burst)
	l.policy = fmt.Sprintf(`"%s";q=%d;w=%d`, l.Name, rate.Burst, seconds(window))
	return l, nil
}

// maxWindow bounds how long a burst takes to flow back.
const maxWindow = 366 * 24 * time.Hour

func (sc *scope) quota(q *policyv1.Quota, i int) (*limit, error) {
	quota := &Quota{Limit: q.GetLimit(), Rolling: q.GetRolling(), Period: Period(q.GetPeriod())}
	switch {
	case quota.Limit <= 0:
		return nil, fmt.Errorf("limit: want at least 1")
	case quota.Period < Minute || quota.Period > Month:
		return nil, fmt.Errorf("period: want minute, hour, day or month")
	}
	l := &limit{}
	l.Quota = quota
	l.Shadow, l.Failure = q.GetShadow(), failure(q.GetFailureMode())
	what := fmt.Sprintf("%d per %s", quota.Limit, quota.Period)
	if quota.Rolling {
		what += ", rolling"
	}
	if err := sc.finish(l, &declaration{q.GetBucket(), "quota", i, what, q.GetKey(), q.Cost, q.GetCostField()}); err != nil {
		return nil, err
	}
	l.policy = fmt.Sprintf(`"%s";q=%d;w=%d`, l.Name, quota.Limit, quota.Period.seconds())
	return l, nil
}

// declaration is what rates and quotas have in common.
type declaration struct {
	bucket, kind string
	index        int
	what         string
	key          *policyv1.Key
	cost         *int64
	costField    string
}

// finish gives a limit its name, bucket, key and cost.
func (sc *scope) finish(l *limit, d *declaration) error {
	var err error
	if l.Name, l.Bucket, err = sc.name(d.bucket, d.kind, d.index, d.what); err != nil {
		return err
	}
	if l.key, err = compileKey(d.key, sc.in, sc.fallback); err != nil {
		return err
	}
	if l.cost, err = compileCost(d.cost, d.costField, sc.in); err != nil {
		return err
	}
	l.says = fmt.Sprintf("%s %q of %s", d.kind, l.Name, d.what)
	return nil
}

func (sc *scope) places(c *policyv1.Concurrency, i int) (*places, error) {
	if c.GetLimit() <= 0 {
		return nil, fmt.Errorf("limit: want at least 1")
	}
	p := &places{}
	p.Limit, p.Shadow = c.GetLimit(), c.GetShadow()
	var err error
	if p.Name, p.Bucket, err = sc.name(c.GetBucket(), "concurrency", i, fmt.Sprintf("%d at once", p.Limit)); err != nil {
		return nil, err
	}
	p.key, err = compileKey(c.GetKey(), sc.in, sc.fallback)
	return p, err
}

// name returns the public name of a limit and where its counts live. The kind
// is part of it, so that no change of the configuration reads a rate's counts
// as those of a quota.
func (sc *scope) name(bucket, kind string, i int, what string) (name, place string, err error) {
	if bucket == "" {
		name = kind
		if sc.plan != "" {
			name = sc.plan + "-" + kind
		}
		if i > 0 {
			name = fmt.Sprintf("%s-%d", name, i+1)
		}
		return name, fmt.Sprintf("%s/%s/%s/%s[%d]", kind, period(kind, what), sc.own, kind, i), nil
	}
	if len(bucket) > 64 || strings.ContainsFunc(bucket, func(r rune) bool { return r < ' ' || r > '~' || strings.ContainsRune(`"\{}`, r) }) {
		return "", "", fmt.Errorf("bucket: want a name of up to 64 printable ASCII characters, not %q", bucket)
	}
	place = kind + "/" + period(kind, what) + "/" + sc.shared + bucket
	id := kind + sc.shared + bucket
	if sc.used[sc.shared+bucket] {
		return "", "", fmt.Errorf("bucket: %q is named twice: a call would be counted twice", bucket)
	}
	sc.used[sc.shared+bucket] = true
	first, ok := sc.buckets[id]
	if !ok {
		sc.buckets[id] = declared{what, sc.own}
	} else if first.what != what {
		return "", "", fmt.Errorf("bucket: %q is %s here and %s in %s: who shares a bucket must agree on it", bucket, what, first.what, first.where)
	}
	return bucket, place, nil
}

// period keeps the counts of quotas of different length apart.
func period(kind, what string) string {
	if kind != "quota" {
		return ""
	}
	_, after, _ := strings.Cut(what, " per ")
	after, _, _ = strings.Cut(after, ",")
	return after
}

func failure(m policyv1.FailureMode) Failure {
	switch m {
	case policyv1.FailureMode_FAILURE_MODE_OPEN:
		return FailOpen
	case policyv1.FailureMode_FAILURE_MODE_CLOSED:
		return FailClosed
	case policyv1.FailureMode_FAILURE_MODE_LOCAL, policyv1.FailureMode_FAILURE_MODE_UNSPECIFIED:
	}
	return FailLocal
}

// seconds returns d in whole seconds, at least 1, rounded up.
func seconds(d time.Duration) int64 {
	return max(int64(math.Ceil(d.Seconds())), 1)
}

// durationText is d without the zeros that Go writes: "1m", not "1m0s".
func durationText(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

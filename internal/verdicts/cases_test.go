package verdicts_test

import "google.golang.org/grpc/codes"

// policies are the services of the test, each with its policy.
func policies() map[string]string {
	return map[string]string{
		"Open":      `{authz: {scopes: [call]}}`,
		"Public":    `{authn: {public: true}}`,
		"KeysOnly":  `{authn: {any_of: [keys]}, authz: {scopes: [call]}}`,
		"Both":      `{authn: {all_of: [users, keys]}, authz: {scopes: [call]}}`,
		"Scoped":    `{authz: {scopes: [call, secret]}}`,
		"AnyScoped": `{authz: {any_scope: [secret, top-secret]}}`,
		"Roled":     `{authz: {roles: [admin]}}`,
		"AnyRoled":  `{authz: {any_role: [admin, auditor]}}`,
		"Ruled":     `{authz: {rules: [{cel: "principal.claims.tenant == 't2'", message: "only for tenant t2"}]}}`,
		"Unnamed":   `{authz: {rules: [{cel: "'x-none' in metadata"}]}}`,
		"Looking":   `{authz: {rules: [{cel: "request.n < 50", message: "n is too much"}]}}`,
		"Walled":    `{authz: {scopes: [call], deny_ips: ["127.0.0.0/8", "::1"]}}`,
		"Abroad":    `{authz: {scopes: [call], allow_ips: ["192.0.2.0/24"]}}`,
		"Shut":      `{authz: {deny: true}}`,
		"Unsaid":    ``,
		"Asking":    `{authz: {external: nobody}}`,
		"Rated":     `{authz: {scopes: [call]}, limits: {rates: [{bucket: rated, key: {principal: true}, requests: 1, per: 3600s}]}}`,
		"Costly":    `{authz: {scopes: [call]}, limits: {rates: [{bucket: costly, key: {principal: true}, requests: 10, per: 3600s, cost_field: n}]}}`,
		"Metered":   `{authz: {scopes: [call]}, limits: {quotas: [{bucket: metered, key: {principal: true}, limit: 1, period: month}]}}`,
		"Shadowed":  `{authz: {scopes: [call]}, limits: {quotas: [{bucket: shadowed, key: {principal: true}, limit: 1, period: month, shadow: true}]}}`,
		"Crowded":   `{authz: {scopes: [call]}, limits: {concurrency: [{bucket: crowded, key: {principal: true}, limit: 1}]}}`,
		"Chatty":    `{authz: {scopes: [call]}, limits: {rates: [{bucket: chatty, key: {principal: true}, requests: 1, per: 3600s, per_message: true}]}}`,
		"Small":     `{authz: {scopes: [call]}, limits: {max_request_bytes: 100}}`,
		"Unchecked": `{authz: {scopes: [call]}, validation: {mode: off}}`,
		"Reported":  `{authz: {scopes: [call]}, validation: {mode: report}}`,
		"Timed":     `{authz: {scopes: [call]}}`, // see configuration
		"Slow":      `{authz: {scopes: [call]}, streams: {first_message_timeout: 300ms}}`,
		"Idle":      `{authz: {scopes: [call]}, streams: {idle_timeout: 300ms}}`,
		"Gone":      `{authz: {scopes: [call]}}`,
	}
}

// A question is one call that every door is asked, and what it must say.
type question struct {
	name    string
	service string
	who     credential
	kinds   string // of calls that can be asked; "": all
	first   *ask   // a message that passes, before the one that is asked about; such a call is a Chat
	ask     ask
	before  int  // calls that use up what there is, of each caller
	hold    bool // while another call of the caller runs
	code    codes.Code
	reason  string // of google.rpc.ErrorInfo; "": it has none
}

func questions() []question {
	good, wrong := ask{Text: "hello", N: 1}, ask{Text: "hello", N: 101}
	all := []question{
		// Who is calling.
		{name: "allowed", service: "Open", who: token, ask: good},
		{name: "allowed by a key", service: "Open", who: key, ask: good},
		{name: "public, no credential", service: "Public", ask: good},
		{name: "public, wrong credential", service: "Public", who: garbage, ask: good, code: codes.Unauthenticated, reason: "INVALID"},
		{name: "no credential", service: "Open", ask: good, code: codes.Unauthenticated, reason: "MISSING_CREDENTIAL"},
		{name: "garbage", service: "Open", who: garbage, ask: good, code: codes.Unauthenticated, reason: "INVALID"},
		{name: "a stranger's token", service: "Open", who: strangersToken, ask: good, code: codes.Unauthenticated, reason: "INVALID"},
		{name: "algorithm none", service: "Open", who: unsigned, ask: good, code: codes.Unauthenticated, reason: "INVALID"},
		{name: "another audience", service: "Open", who: othersToken, ask: good, code: codes.Unauthenticated, reason: "INVALID"},
		{name: "expired token", service: "Open", who: expiredToken, ask: good, code: codes.Unauthenticated, reason: "EXPIRED"},
		{name: "not yet valid token", service: "Open", who: earlyToken, ask: good, code: codes.Unauthenticated, reason: "INVALID"},
		{name: "revoked token", service: "Open", who: revokedToken, ask: good, code: codes.Unauthenticated, reason: "REVOKED"},
		{name: "wrong key", service: "Open", who: wrongKey, ask: good, code: codes.Unauthenticated, reason: "INVALID"},
		{name: "expired key", service: "Open", who: expiredKey, ask: good, code: codes.Unauthenticated, reason: "EXPIRED"},
		{name: "revoked key", service: "Open", who: revokedKey, ask: good, code: codes.Unauthenticated, reason: "REVOKED"},
		{name: "another kind of credential", service: "KeysOnly", who: token, ask: good, code: codes.Unauthenticated, reason: "MISSING_CREDENTIAL"},
		{name: "one credential of two", service: "Both", who: token, ask: good, code: codes.Unauthenticated, reason: "MISSING_CREDENTIAL"},
		// May they.
		{name: "missing scope", service: "Scoped", who: token, ask: good, code: codes.PermissionDenied, reason: "MISSING_SCOPE"},
		{name: "missing scope of a key", service: "Scoped", who: key, ask: good, code: codes.PermissionDenied, reason: "MISSING_SCOPE"},
		{name: "none of the scopes", service: "AnyScoped", who: token, ask: good, code: codes.PermissionDenied, reason: "MISSING_SCOPE"},
		{name: "missing role", service: "Roled", who: token, ask: good, code: codes.PermissionDenied, reason: "MISSING_ROLE"},
		{name: "none of the roles", service: "AnyRoled", who: token, ask: good, code: codes.PermissionDenied, reason: "MISSING_ROLE"},
		{name: "CEL false", service: "Ruled", who: token, ask: good, code: codes.PermissionDenied, reason: "DENIED_BY_RULE"},
		{name: "CEL false, without a text", service: "Unnamed", who: token, ask: good, code: codes.PermissionDenied, reason: "DENIED_BY_RULE"},
		{name: "CEL false of the request", service: "Looking", who: token, ask: ask{Text: "hello", N: 60}, code: codes.PermissionDenied, reason: "DENIED_BY_RULE"},
		{name: "CEL true of the request", service: "Looking", who: token, ask: good},
		{name: "denied address", service: "Walled", who: token, ask: good, code: codes.PermissionDenied, reason: "ADDRESS_DENIED"},
		{name: "address not allowed", service: "Abroad", who: token, ask: good, code: codes.PermissionDenied, reason: "ADDRESS_DENIED"},
		{name: "nobody may", service: "Shut", who: token, ask: good, code: codes.PermissionDenied, reason: "DENIED"},
		{name: "denied by default", service: "Unsaid", who: token, ask: good, code: codes.PermissionDenied, reason: "DENIED_BY_DEFAULT"},
		{name: "authorizer is down", service: "Asking", who: token, ask: good, code: codes.Unavailable, reason: "AUTHORIZATION_UNAVAILABLE"},
		{name: "a field that the caller may not set", service: "Open", who: token, ask: ask{Text: "hello", Price: 5}, code: codes.PermissionDenied, reason: "FIELD_NOT_WRITABLE"},
		// How often.
		{name: "within the rate", service: "Rated", who: token, ask: good},
		{name: "over the rate", service: "Rated", who: token, ask: good, before: 1, code: codes.ResourceExhausted, reason: "RATE_LIMIT_EXCEEDED"},
		{name: "over the rate by cost", service: "Costly", who: token, ask: ask{N: 11}, code: codes.ResourceExhausted, reason: "RATE_LIMIT_EXCEEDED"},
		{name: "over the quota", service: "Metered", who: token, ask: good, before: 1, code: codes.ResourceExhausted, reason: "QUOTA_EXCEEDED"},
		{name: "over the quota in shadow", service: "Shadowed", who: token, ask: good, before: 1},
		{name: "too many at once", service: "Crowded", who: token, ask: good, hold: true, code: codes.ResourceExhausted, reason: "CONCURRENCY_LIMIT_EXCEEDED"},
		{name: "too many messages", service: "Chatty", who: token, first: &good, ask: good, code: codes.ResourceExhausted, reason: "RATE_LIMIT_EXCEEDED"},
		// With what.
		{name: "invalid message", service: "Open", who: token, ask: wrong, code: codes.InvalidArgument},
		{name: "two violations", service: "Open", who: token, ask: ask{Text: "forbidden", N: 101}, code: codes.InvalidArgument},
		{name: "invalid second message", service: "Open", who: token, first: &good, ask: wrong, code: codes.InvalidArgument},
		{name: "invalid, reported only", service: "Reported", who: token, ask: wrong},
		{name: "invalid, not checked", service: "Unchecked", who: token, ask: wrong},
		{name: "request too large", service: "Small", who: token, ask: large(), code: codes.ResourceExhausted},
		{name: "second message too large", service: "Small", who: token, first: &good, ask: large(), code: codes.ResourceExhausted},
		// What is asked first.
		{name: "no credential, invalid message", service: "Open", ask: wrong, code: codes.Unauthenticated, reason: "MISSING_CREDENTIAL"},
		{name: "no credential, too large", service: "Small", ask: large(), code: codes.Unauthenticated, reason: "MISSING_CREDENTIAL"},
		{name: "missing scope, invalid message", service: "Scoped", who: token, ask: wrong, code: codes.PermissionDenied, reason: "MISSING_SCOPE"},
		{name: "over the rate, invalid message", service: "Rated", who: token, ask: wrong, before: 1, code: codes.ResourceExhausted, reason: "RATE_LIMIT_EXCEEDED"},
		// What the backend says, or does not.
		{name: "backend refuses", service: "Open", who: token, ask: ask{Text: "fail"}, code: codes.FailedPrecondition, reason: "NOT_TODAY"},
		{name: "backend takes too long", service: "Timed", who: token, ask: ask{Text: "hang"}, code: codes.DeadlineExceeded},
		{name: "backend is gone", service: "Gone", who: token, ask: good, code: codes.Unavailable, reason: "UPSTREAM_UNREACHABLE"},
		{name: "first message takes too long", service: "Slow", kinds: "Watch Chat", who: token, ask: ask{Text: "hang"}, code: codes.DeadlineExceeded, reason: "STREAM_FIRST_MESSAGE_TIMEOUT"},
		{name: "nothing happens", service: "Idle", kinds: "Watch Chat", who: token, ask: ask{Text: "hold"}, code: codes.DeadlineExceeded, reason: "STREAM_IDLE"},
	}
	for _, code := range []codes.Code{codes.NotFound, codes.AlreadyExists, codes.Aborted, codes.Unknown, codes.Internal, codes.DataLoss, codes.OutOfRange, codes.Unimplemented, codes.Canceled} {
		all = append(all, question{name: "backend says " + code.String(), service: "Open", who: token, ask: ask{Text: "code", N: int32(code)}, code: code})
	}
	return all
}

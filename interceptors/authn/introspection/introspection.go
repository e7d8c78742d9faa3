package introspection

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"

	"github.com/transomhq/transom/interceptors/authn"
	"github.com/transomhq/transom/rpc"
)

// Options say who is asked. URL, ClientID and ClientSecret are needed.
type Options struct {
	URL                    string
	ClientID, ClientSecret string
	// Audiences are accepted values of "aud"; empty: all.
	Audiences []string
	// Cache is how long an answer is believed, at most until the token
	// expires; 0: it is asked each time.
	Cache time.Duration
	// Timeout bounds one question; 0: 3 seconds.
	Timeout time.Duration
	// Client asks; nil: one that follows no redirect.
	Client *http.Client
}

const (
	maxToken       = 16 << 10
	maxAnswer      = 256 << 10
	cacheSize      = 10_000
	defaultTimeout = 3 * time.Second
)

// Verifier asks about tokens. It is safe for concurrent use.
type Verifier struct {
	opts   Options
	known  *otter.Cache[[sha256.Size]byte, *verdict]
	flight singleflight.Group
}

// verdict is what the server said about a token.
type verdict struct {
	principal *rpc.Principal // nil: the token is not good
	until     time.Time
}

var _ authn.Verifier = (*Verifier)(nil)

// New returns a verifier.
func New(opts Options) (*Verifier, error) {
	if opts.URL == "" || opts.ClientID == "" || opts.ClientSecret == "" {
		return nil, errors.New("who is asked, and as whom, must be said: url, client_id and client_secret")
	}
	if opts.Timeout == 0 {
		opts.Timeout = defaultTimeout
	}
	if opts.Client == nil {
		opts.Client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	cache, err := otter.New(&otter.Options[[sha256.Size]byte, *verdict]{MaximumSize: cacheSize, Executor: func(fn func()) { fn() }})
	return &Verifier{opts: opts, known: cache}, err
}

// Close closes idle connections.
func (v *Verifier) Close() { v.opts.Client.CloseIdleConnections() }

// Verify returns who the server says that a token is about.
func (v *Verifier) Verify(ctx context.Context, c authn.Credential) (*rpc.Principal, error) {
	if len(c.Text) > maxToken || !isToken(c.Text) {
		return nil, authn.Refuse(authn.Invalid, "the token is malformed", nil)
	}
	digest := sha256.Sum256([]byte(c.Text))
	known, ok := v.known.GetIfPresent(digest)
	if now := time.Now(); !ok || !now.Before(known.until) {
		var err error
		if known, err = v.askOnce(ctx, string(digest[:]), c.Text); err != nil {
			return nil, err
		}
		if v.opts.Cache > 0 {
			v.known.Set(digest, known)
		}
	}
	switch p := known.principal; {
	case p == nil:
		return nil, authn.Refuse(authn.Invalid, "the token is not valid, or not any more", nil)
	case !p.Expiry.IsZero() && !time.Now().Before(p.Expiry):
		return nil, authn.Refuse(authn.Expired, "the token has expired", nil)
	}
	return known.principal, nil
}

// isToken checks for the b64token of RFC 6750, section 2.1, but for its padding.
func isToken(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._~+/=", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// askOnce asks about a token, one time for all calls that wait for it. The
// question does not end with the call that asks it first, which is bounded by
// the timeout.
func (v *Verifier) askOnce(ctx context.Context, key, token string) (*verdict, error) {
	answer, err, _ := v.flight.Do(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), v.opts.Timeout)
		defer cancel()
		return v.ask(ctx, token)
	})
	if err != nil {
		return nil, err
	}
	found, _ := answer.(*verdict)
	return found, nil
}

func (v *Verifier) ask(ctx context.Context, token string) (*verdict, error) {
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, v.opts.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	// RFC 6749, section 2.3.1: both are form-encoded first.
	req.SetBasicAuth(url.QueryEscape(v.opts.ClientID), url.QueryEscape(v.opts.ClientSecret))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	resp, err := v.opts.Client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("introspection: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("introspection: %s answers %s", v.opts.URL, resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("introspection: %w", err)
	}
	if len(text) > maxAnswer {
		return nil, fmt.Errorf("introspection: the answer is larger than %d bytes", maxAnswer)
	}
	return v.read(text)
}

// response is an answer (RFC 7662, section 2.2).
type response struct {
	Active   *bool    `json:"active"`
	Scope    string   `json:"scope"`
	ClientID string   `json:"client_id"`
	Username string   `json:"username"`
	Subject  string   `json:"sub"`
	Issuer   string   `json:"iss"`
	ID       string   `json:"jti"`
	Audience any      `json:"aud"`
	Expiry   *float64 `json:"exp"`
	NotYet   *float64 `json:"nbf"`
}

func (v *Verifier) read(text []byte) (*verdict, error) {
	var r response
	claims := map[string]any{}
	if err := errors.Join(json.Unmarshal(text, &r), json.Unmarshal(text, &claims)); err != nil {
		return nil, errors.New("introspection: the answer is not JSON as RFC 7662 has it")
	}
	if r.Active == nil {
		return nil, errors.New(`introspection: the answer has no "active"`)
	}
	now := time.Now()
	d := &verdict{until: now.Add(v.opts.Cache)}
	if !*r.Active || !v.isFor(r.Audience) || r.NotYet != nil && *r.NotYet > float64(now.Unix()) {
		return d, nil
	}
	p := &rpc.Principal{
		Subject: r.Subject, Issuer: r.Issuer, Scopes: strings.Fields(r.Scope), Claims: claims,
		Consumer: r.ClientID, CredentialID: r.ID, Method: "introspection",
	}
	for _, name := range []string{r.Username, r.ClientID} {
		if p.Subject == "" {
			p.Subject = name
		}
	}
	if p.Subject == "" {
		return d, nil // nobody
	}
	if p.Issuer == "" {
		p.Issuer = v.opts.URL
	}
	if r.Expiry != nil {
		p.Expiry = time.Unix(int64(max(0, min(*r.Expiry, 1<<40))), 0)
		if p.Expiry.Before(d.until) {
			d.until = p.Expiry
		}
	}
	d.principal = p
	return d, nil
}

func (v *Verifier) isFor(aud any) bool {
	if len(v.opts.Audiences) == 0 {
		return true
	}
	switch aud := aud.(type) {
	case string:
		return slices.Contains(v.opts.Audiences, aud)
	case []any:
		return slices.ContainsFunc(aud, func(one any) bool {
			s, ok := one.(string)
			return ok && slices.Contains(v.opts.Audiences, s)
		})
	}
	return false
}

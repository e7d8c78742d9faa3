package jwt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// readURL fetches the keys over HTTP.
func (k *keys) readURL(ctx context.Context) error {
	at := k.opts.URL
	if k.opts.Discovery {
		var err error
		if at, err = k.discover(ctx); err != nil {
			return err
		}
	}
	text, err := k.get(ctx, at)
	if err != nil {
		return err
	}
	if err := k.take(text); err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	return nil
}

// discover asks the issuer where its keys are. The answer must be the issuer's
// own (OpenID Connect Discovery 1.0, section 4.3), and no less safe than the
// question.
func (k *keys) discover(ctx context.Context) (string, error) {
	at := strings.TrimSuffix(k.issuer, "/") + "/.well-known/openid-configuration"
	text, err := k.get(ctx, at)
	if err != nil {
		return "", err
	}
	var answer struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return "", fmt.Errorf("%s: not JSON: %w", at, err)
	}
	if answer.Issuer != k.issuer {
		return "", fmt.Errorf("%s: it is about another issuer, %q", at, answer.Issuer)
	}
	to, err := url.Parse(answer.Keys)
	if err != nil || to.Host == "" || to.Scheme != "https" && !strings.HasPrefix(k.issuer, "http://") {
		return "", fmt.Errorf("%s: its jwks_uri, %q, is not an https address", at, answer.Keys)
	}
	return answer.Keys, nil
}

func (k *keys) get(ctx context.Context, at string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json, application/jwk-set+json")
	resp, err := k.opts.Client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", at, resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxKeySetBytes+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	if len(text) > maxKeySetBytes {
		return nil, fmt.Errorf("%s answers more than %d bytes", at, maxKeySetBytes)
	}
	return text, nil
}

// noDowngrade follows a few redirects, none of them away from TLS.
func noDowngrade(req *http.Request, via []*http.Request) error {
	if len(via) > 3 {
		return errors.New("too many redirects")
	}
	if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return errors.New("a redirect leads away from https")
	}
	return nil
}

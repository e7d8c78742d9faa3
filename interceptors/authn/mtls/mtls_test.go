package mtls_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/transomhq/transom/interceptors/authn"
	"github.com/transomhq/transom/interceptors/authn/mtls"
)

func certificate(change func(*x509.Certificate)) *tls.ConnectionState {
	id, _ := url.Parse("spiffe://shop.example/orders")
	c := &x509.Certificate{
		Raw: []byte("raw"), URIs: []*url.URL{id}, DNSNames: []string{"orders.internal"},
		Subject: pkix.Name{CommonName: "orders", Organization: []string{"Shop"}}, NotAfter: time.Now().Add(time.Hour),
	}
	if change != nil {
		change(c)
	}
	return &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c}, VerifiedChains: [][]*x509.Certificate{{c}}}
}

func TestNames(t *testing.T) {
	other, _ := url.Parse("https://shop.example/orders")
	unverified := certificate(nil)
	unverified.VerifiedChains = nil
	for _, tt := range []struct {
		name   string
		opts   mtls.Options
		state  *tls.ConnectionState
		want   string
		reason authn.Reason
	}{
		{"SPIFFE", mtls.Options{}, certificate(nil), "spiffe://shop.example/orders", ""},
		{"DNS", mtls.Options{Name: mtls.DNS}, certificate(nil), "orders.internal", ""},
		{"common name", mtls.Options{Name: mtls.CommonName}, certificate(nil), "orders", ""},
		{"subject", mtls.Options{Name: mtls.Subject}, certificate(nil), "CN=orders,O=Shop", ""},
		{"allowed below", mtls.Options{Allow: []string{"spiffe://shop.example/*"}}, certificate(nil), "spiffe://shop.example/orders", ""},
		{"allowed by name", mtls.Options{Name: mtls.DNS, Allow: []string{"*.internal"}}, certificate(nil), "orders.internal", ""},
		{"another domain", mtls.Options{Allow: []string{"spiffe://shop.example.evil/*", "spiffe://shop/*"}}, certificate(nil), "", authn.Invalid},
		{"not verified", mtls.Options{}, unverified, "", authn.Invalid},
		{"none", mtls.Options{}, nil, "", authn.Invalid},
		{"expired meanwhile", mtls.Options{}, certificate(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }), "", authn.Expired},
		{"two URIs", mtls.Options{}, certificate(func(c *x509.Certificate) { c.URIs = append(c.URIs, c.URIs[0]) }), "", authn.Invalid},
		{"no SPIFFE ID", mtls.Options{}, certificate(func(c *x509.Certificate) { c.URIs = []*url.URL{other} }), "", authn.Invalid},
	} {
		p, err := mtls.New(tt.opts).Verify(t.Context(), authn.Credential{TLS: tt.state})
		var r *authn.Refusal
		if tt.reason != "" {
			if !errors.As(err, &r) || r.Reason != tt.reason {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if err != nil || p.Subject != tt.want || p.Expiry.IsZero() || p.CredentialID == "" {
			t.Errorf("%s: %+v %v", tt.name, p, err)
		}
	}
}

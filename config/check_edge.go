package config

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"

	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
)

// checkListeners checks where the gateway listens, the admin listener included.
func (f *File) checkListeners() {
	first := map[string]string{}
	for i, l := range f.Config.GetListeners() {
		path := element("listeners", i)
		f.checkDistinct(first, l.GetAddress(), join(path, "address"))
		if l.GetTls() != nil {
			f.checkServerTLS(l.GetTls(), join(path, "tls"))
		}
		if l.GetProxyProtocol() && len(f.Config.GetEdge().GetTrustedProxies()) == 0 {
			f.wrong(join(path, "proxy_protocol"), "needs edge.trusted_proxies: nobody else may connect")
		}
	}
	if admin := f.Config.GetAdmin(); !admin.GetDisabled() {
		f.checkDistinct(first, admin.GetAddress(), "admin.address")
	}
}

// checkDistinct refuses an address that another listener has. Port 0 is
// another one each time.
func (f *File) checkDistinct(first map[string]string, address, path string) {
	if _, port, err := net.SplitHostPort(address); err == nil && port == "0" || address == "" {
		return
	}
	if other, ok := first[address]; ok {
		f.wrong(path, "%s is the address of %s already", quote(address), f.said(other))
		return
	}
	first[address] = path
}

// said returns path with its line, for a mistake about another place.
func (f *File) said(path string) string {
	if p, ok := f.places[path]; ok {
		return path + " (" + p.String() + ")"
	}
	return path
}

func (f *File) checkServerTLS(t *configv1.ServerTls, path string) {
	f.checkPair(t.GetCert(), t.GetKey(), path)
	for i, c := range t.GetCertificates() {
		f.checkPair(c.GetCert(), c.GetKey(), element(join(path, "certificates"), i))
	}
	if t.GetCert() == "" && t.GetKey() == "" && len(t.GetCertificates()) == 0 {
		f.wrong(path, "has no certificate: set cert and key, or certificates")
	}
	f.checkAuthorities(t.GetClientCa(), join(path, "client_ca"))
	if t.GetRequireClientCert() && t.GetClientCa() == "" {
		f.wrong(join(path, "require_client_cert"), "needs client_ca: whose certificates are accepted")
	}
}

func (f *File) checkClientTLS(t *configv1.ClientTls, path string) {
	f.checkPair(t.GetCert(), t.GetKey(), path)
	f.checkAuthorities(t.GetCa(), join(path, "ca"))
	if t.GetInsecureSkipVerify() && t.GetCa() != "" {
		f.wrong(join(path, "insecure_skip_verify"), "and ca exclude each other: with a ca, the certificate is checked")
	}
}

// checkPair checks that a certificate and a key can be read and belong together.
func (f *File) checkPair(cert, key, path string) {
	switch {
	case cert == "" && key == "":
		return
	case cert == "":
		f.wrong(join(path, "cert"), "is missing: key is of no use without it")
		return
	case key == "":
		f.wrong(join(path, "key"), "is missing: cert is of no use without it")
		return
	case f.isBad(join(path, "cert")) || f.isBad(join(path, "key")):
		return
	}
	if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
		f.wrong(join(path, "cert"), "%s with %s: %s", cert, key, err)
	}
}

// checkAuthorities checks that a file holds certificates.
func (f *File) checkAuthorities(file, path string) {
	if file == "" || f.isBad(path) {
		return
	}
	text, err := os.ReadFile(file)
	if err != nil {
		f.wrong(path, "%s", err)
		return
	}
	if !x509.NewCertPool().AppendCertsFromPEM(text) {
		f.wrong(path, "%s holds no certificate in PEM", file)
	}
}

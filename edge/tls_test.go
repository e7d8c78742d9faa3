package edge_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/transomhq/transom/edge"
	"github.com/transomhq/transom/rpc"
)

// authority signs certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
	pool *x509.CertPool
}

func newAuthority(t *testing.T, dir string) *authority {
	t.Helper()
	a := &authority{file: filepath.Join(dir, "ca.pem"), pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	a.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, _ = x509.ParseCertificate(der)
	a.pool.AddCert(a.cert)
	write(t, a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return a
}

// issue returns a pair for name, with serial to tell it by.
func (a *authority) issue(t *testing.T, serial int64, name string) (cert, key []byte) {
	t.Helper()
	k, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, k.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	kder, _ := x509.MarshalPKCS8PrivateKey(k)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kder})
}

func write(t *testing.T, file string, text []byte) {
	t.Helper()
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// pair writes a pair of files for name into dir.
func (a *authority) pair(t *testing.T, dir string, serial int64, name string) edge.Certificate {
	t.Helper()
	cert, key := a.issue(t, serial, name)
	p := edge.Certificate{CertFile: filepath.Join(dir, name+".pem"), KeyFile: filepath.Join(dir, name+".key")}
	write(t, p.CertFile, cert)
	write(t, p.KeyFile, key)
	return p
}

func tlsClient(t *testing.T, config *tls.Config, h2 bool) *http.Client {
	p := new(http.Protocols)
	p.SetHTTP1(!h2)
	p.SetHTTP2(h2)
	tr := &http.Transport{TLSClientConfig: config, Protocols: p}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 30 * time.Second}
}

// serial returns the serial number of the certificate that addr shows for name.
func serial(t *testing.T, a *authority, addr, name string) int64 {
	t.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: a.pool, ServerName: name})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, dir)
	opts := edge.TLS{Certificates: []edge.Certificate{ca.pair(t, dir, 11, "a.example"), ca.pair(t, dir, 12, "b.example")}}
	_, addr := start(t, edge.Options{
		HSTS:      time.Hour,
		Listeners: []edge.Listener{{Address: "127.0.0.1:0", TLS: &opts}},
		Handler: func(w http.ResponseWriter, r *http.Request, call *rpc.Call) {
			if call.TLS == nil || r.TLS == nil || call.TLS.ServerName != "a.example" {
				t.Errorf("TLS %+v", call.TLS)
			}
			echo(w, r, call)
		},
	})
	for h2, proto := range map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"} {
		c := tlsClient(t, &tls.Config{RootCAs: ca.pool, ServerName: "a.example"}, h2)
		for range 3 {
			status, body, h := get(t, c, "https://"+addr+"/")
			if status != 200 || !strings.HasPrefix(body, proto) || h.Get("Strict-Transport-Security") != "max-age=3600" {
				t.Errorf("%d %s %v", status, body, h)
			}
		}
	}
	if s := serial(t, ca, addr, "b.example"); s != 12 {
		t.Errorf("b.example got certificate %d", s)
	}
	if c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: ca.pool, ServerName: "a.example", MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}); err == nil {
		_ = c.Close()
		t.Error("TLS 1.1 was accepted")
	}
	checkRefusal(t, raw(t, addr, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "400 Bad Request", "this is an HTTPS port, and the client sent plain HTTP")
}

func TestClientCertificates(t *testing.T) {
	dir := t.TempDir()
	ca, other := newAuthority(t, dir), newAuthority(t, t.TempDir())
	server := ca.pair(t, dir, 1, "a.example")
	keys := func(a *authority) []tls.Certificate {
		cert, key := a.issue(t, 7, "client")
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		return []tls.Certificate{pair}
	}
	for _, require := range []bool{false, true} {
		_, addr := start(t, edge.Options{
			Listeners: []edge.Listener{{Address: "127.0.0.1:0", TLS: &edge.TLS{
				Certificates: []edge.Certificate{server}, ClientCAs: []string{ca.file}, RequireClientCert: require,
			}}},
			Handler: func(w http.ResponseWriter, r *http.Request, call *rpc.Call) {
				if len(call.TLS.VerifiedChains) > 0 {
					w.WriteHeader(202)
				}
			},
		})
		for _, h2 := range []bool{false, true} {
			for name, tt := range map[string]struct {
				certs []tls.Certificate
				want  int // 0: refused
			}{
				"none":  {nil, map[bool]int{false: 200, true: 0}[require]},
				"known": {keys(ca), 202},
				"other": {keys(other), 0},
			} {
				config := &tls.Config{RootCAs: ca.pool, ServerName: "a.example"}
				if tt.certs != nil { // also against the server's hint of whom it trusts
					config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tt.certs[0], nil }
				}
				got := 0
				if resp, err := tlsClient(t, config, h2).Get("https://" + addr + "/"); err == nil {
					got = resp.StatusCode
					_ = resp.Body.Close()
				}
				if got != tt.want {
					t.Errorf("require=%v h2=%v %s: %d, want %d", require, h2, name, got, tt.want)
				}
			}
		}
	}
}

// Certificates are swapped, and broken, while requests come on new connections.
func TestTLSReloadUnderTraffic(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, dir)
	pair := ca.pair(t, dir, 1, "a.example")
	var mu sync.Mutex
	var log bytes.Buffer
	_, addr := start(t, edge.Options{
		Handler: echo, Logger: slog.New(slog.NewTextHandler(lockedWriter{&mu, &log}, nil)),
		Listeners: []edge.Listener{{Address: "127.0.0.1:0", TLS: &edge.TLS{Certificates: []edge.Certificate{pair}, ReloadInterval: time.Hour}}},
	})
	logged := func(text string) bool {
		mu.Lock()
		defer mu.Unlock()
		return strings.Contains(log.String(), text)
	}
	stop := make(chan struct{})
	var traffic sync.WaitGroup
	defer traffic.Wait()
	end := sync.OnceFunc(func() { close(stop) })
	defer end()
	for _, h2 := range []bool{false, true} {
		c := tlsClient(t, &tls.Config{RootCAs: ca.pool, ServerName: "a.example"}, h2)
		c.Transport.(*http.Transport).DisableKeepAlives = !h2
		traffic.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				resp, err := c.Get("https://" + addr + "/")
				if err != nil {
					t.Error("during reloads:", err)
					return
				}
				_ = resp.Body.Close()
			}
		})
	}
	for n := int64(2); n < 4; n++ {
		ca.pair(t, dir, n, "a.example")
		waitFor(t, "the new certificate", func() bool { return serial(t, ca, addr, "a.example") == n })
	}
	write(t, pair.KeyFile, []byte("no key"))
	waitFor(t, "the log of the broken pair", func() bool { return logged("certificates not reloaded, the old ones serve on") })
	if s := serial(t, ca, addr, "a.example"); s != 3 {
		t.Errorf("with a broken pair on disk, certificate %d serves", s)
	}
	ca.pair(t, dir, 5, "a.example")
	waitFor(t, "the mended pair", func() bool { return serial(t, ca, addr, "a.example") == 5 })
	end()
}

// Kubernetes swaps a symlink to a folder; the files' own folder never changes.
func TestTLSReloadByInterval(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, dir)
	for n, sub := range map[int64]string{1: "v1", 2: "v2"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
		ca.pair(t, filepath.Join(dir, sub), n, "a.example")
	}
	link := func(to string) {
		if err := os.Symlink(to, filepath.Join(dir, "tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "tmp"), filepath.Join(dir, "current")); err != nil {
			t.Fatal(err)
		}
	}
	link("v1")
	pair := edge.Certificate{CertFile: filepath.Join(dir, "current/a.example.pem"), KeyFile: filepath.Join(dir, "current/a.example.key")}
	_, addr := start(t, edge.Options{
		Handler:   echo,
		Listeners: []edge.Listener{{Address: "127.0.0.1:0", TLS: &edge.TLS{Certificates: []edge.Certificate{pair}, ReloadInterval: 20 * time.Millisecond}}},
	})
	if s := serial(t, ca, addr, "a.example"); s != 1 {
		t.Fatal(s)
	}
	link("v2")
	waitFor(t, "the other folder's certificate", func() bool { return serial(t, ca, addr, "a.example") == 2 })
}

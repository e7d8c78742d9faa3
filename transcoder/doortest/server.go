package doortest

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/transomhq/transom/rpc"
)

// Upstream starts a gRPC server on loopback and returns a connection to it.
func Upstream(t testing.TB, register func(*grpc.Server), opts ...grpc.ServerOption) *grpc.ClientConn {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer(opts...)
	register(srv)
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(lis) }()
	conn, err := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		srv.Stop()
		<-done
	})
	return conn
}

// Serve is a door's Serve.
type Serve func(w http.ResponseWriter, r *http.Request, call *rpc.Call)

// Edge is a real HTTP server with doors behind it.
type Edge struct {
	// Addr is host:port, URL the same with its scheme.
	Addr, URL string
	// TLS is what a client needs to trust the server, nil without TLS.
	TLS *tls.Config
}

// Listen starts an HTTP server for HTTP/1.1 and HTTP/2, in cleartext or with
// TLS, whose calls, with their methods found by path, go to serve.
func Listen(t testing.TB, secure bool, methods map[string]*rpc.Method, serve Serve) *Edge {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		call := rpc.NewCall(nil)
		call.Method = methods[r.URL.Path]
		defer call.Finish()
		serve(w, r, call)
	}))
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetHTTP2(secure)
	p.SetUnencryptedHTTP2(!secure)
	srv.Config.Protocols = &p
	e := &Edge{Addr: srv.Listener.Addr().String()}
	if secure {
		srv.EnableHTTP2 = true
		srv.StartTLS()
		roots := x509.NewCertPool()
		roots.AddCert(srv.Certificate())
		e.TLS = &tls.Config{RootCAs: roots, ServerName: "example.com"}
	} else {
		srv.Start()
	}
	e.URL = srv.URL
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return e
}

// Client returns an HTTP client for the edge; http2 says which version it speaks.
func (e *Edge) Client(t testing.TB, http2 bool) *http.Client {
	var p http.Protocols
	p.SetHTTP1(!http2)
	p.SetHTTP2(http2 && e.TLS != nil)
	p.SetUnencryptedHTTP2(http2 && e.TLS == nil)
	tr := &http.Transport{Protocols: &p, DisableCompression: true}
	if e.TLS != nil {
		tr.TLSClientConfig = e.TLS.Clone()
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

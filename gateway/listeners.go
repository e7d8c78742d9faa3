package gateway

import (
	"crypto/tls"
	"net/http"

	"github.com/transomhq/transom/edge"
	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
	"github.com/transomhq/transom/rpc"
)

func (g *Gateway) edgeOptions(cfg *configv1.Config) edge.Options {
	limits := cfg.GetEdge().GetLimits()
	opts := edge.Options{
		Handler: g.serve, Finish: g.telemetry.Finish, Refuse: g.refuse, Logger: g.log,
		TrustedProxies: cfg.GetEdge().GetTrustedProxies(),
		ClientIPHeader: cfg.GetEdge().GetClientIpHeader(),
		ResponseHeader: cfg.GetEdge().GetResponseHeaders(), SecurityHeaders: cfg.GetEdge().GetSecurityHeaders(),
		HSTS:       cfg.GetEdge().GetHsts().AsDuration(),
		DrainDelay: cfg.GetDrain().GetDelay().AsDuration(),
		Limits: edge.Limits{
			Connections:  int(limits.GetMaxConnections()),
			Streams:      int(limits.GetMaxStreamsPerConnection()),
			HeaderBytes:  int(limits.GetMaxHeaderBytes()),
			HeaderFields: int(limits.GetMaxHeaderFields()),
			URIBytes:     int(limits.GetMaxUriBytes()),
			BodyBytes:    -1, // each door bounds its bodies by its own setting
		},
		Timeouts: edge.Timeouts{
			ReadHeader: limits.GetReadHeaderTimeout().AsDuration(),
			Idle:       limits.GetIdleTimeout().AsDuration(),
			BodyIdle:   limits.GetReadTimeout().AsDuration(),
			WriteIdle:  limits.GetWriteTimeout().AsDuration(),
		},
	}
	for _, l := range cfg.GetListeners() {
		opts.Listeners = append(opts.Listeners, edge.Listener{
			Address: l.GetAddress(), TLS: listenerTLS(l.GetTls()), ProxyProtocol: l.GetProxyProtocol(),
		})
	}
	return opts
}

func listenerTLS(c *configv1.ServerTls) *edge.TLS {
	if c == nil {
		return nil
	}
	t := &edge.TLS{RequireClientCert: c.GetRequireClientCert(), MinVersion: tls.VersionTLS12}
	if c.GetMinVersion() == configv1.TlsVersion_TLS_VERSION_1_3 {
		t.MinVersion = tls.VersionTLS13
	}
	if c.GetClientCa() != "" {
		t.ClientCAs = []string{c.GetClientCa()}
	}
	if c.GetCert() != "" {
		t.Certificates = append(t.Certificates, edge.Certificate{CertFile: c.GetCert(), KeyFile: c.GetKey()})
	}
	for _, pair := range c.GetCertificates() {
		t.Certificates = append(t.Certificates, edge.Certificate{CertFile: pair.GetCert(), KeyFile: pair.GetKey()})
	}
	return t
}

// refuse writes what the edge refuses. Clients of gRPC's protocols read the
// HTTP status of an answer that is none of theirs (PROTOCOL-HTTP2.md, "HTTP
// status to gRPC status").
func (g *Gateway) refuse(w http.ResponseWriter, r *http.Request, call *rpc.Call, err *rpc.Error) {
	h := g.enter()
	if h == nil {
		http.Error(w, err.Message, http.StatusServiceUnavailable)
		return
	}
	defer h.leave()
	h.cors.readable(w, r)
	h.rest.Refuse(w, r, call, err)
}

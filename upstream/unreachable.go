package upstream

import (
	"strings"

	"github.com/transomhq/transom/rpc"
)

// whyUnreachable returns what is public about a connection that failed. The
// transports say it as text only; of that, nothing but its kind goes out.
func whyUnreachable(cause error) rpc.ProxyError {
	text := cause.Error()
	for _, known := range reasons {
		if strings.Contains(text, known.text) {
			return known.kind
		}
	}
	return rpc.DestinationUnavailable
}

// reasons are parts of what net, crypto/tls and grpc-go say, the particular
// before the general.
var reasons = []struct { //nolint:gochecknoglobals // a constant list
	text string
	kind rpc.ProxyError
}{
	{"x509: ", rpc.TLSCertificateError},
	{"failed to verify certificate", rpc.TLSCertificateError},
	{"authentication handshake failed", rpc.TLSProtocolError},
	{"tls: ", rpc.TLSProtocolError},
	{"no such host", rpc.DNSError},
	{"produced zero addresses", rpc.DNSError},
	{"name resolver error", rpc.DNSError},
	{"connection refused", rpc.ConnectionRefused},
	{"no such file or directory", rpc.ConnectionRefused}, // a Unix socket
	{"i/o timeout", rpc.ConnectionTimeout},
	{"deadline exceeded", rpc.ConnectionTimeout},
	{"connection reset", rpc.ConnectionTerminated},
	{"broken pipe", rpc.ConnectionTerminated},
	{"error reading from server", rpc.ConnectionTerminated},
	{"EOF", rpc.ConnectionTerminated},
	{"closing transport", rpc.ConnectionTerminated},
	{"keepalive ping failed", rpc.ConnectionTerminated},
	{"RST_STREAM", rpc.ConnectionTerminated},
	{"goaway", rpc.ConnectionTerminated},
	{"the connection is draining", rpc.ConnectionTerminated},
}

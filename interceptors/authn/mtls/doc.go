// Package mtls says whose client certificate a connection has shown. The TLS
// handshake has verified the certificate already; here only its name is read.
package mtls

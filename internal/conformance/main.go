// Command conformance puts the gateway's gRPC, gRPC-Web and Connect doors
// between Connect's conformance runner and a gRPC server of the same suite. The
// runner starts it as the server under test; README.md says how.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/bufbuild/protocompile"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/transomhq/transom/rpc"
	reflectcodec "github.com/transomhq/transom/transcoder/codec/reflect"
	"github.com/transomhq/transom/transcoder/connect"
	"github.com/transomhq/transom/transcoder/doortest"
	"github.com/transomhq/transom/transcoder/grpcweb"
	"github.com/transomhq/transom/transcoder/native"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

// run takes the folder of the suite's protos and the command of a gRPC server
// that reads its configuration as this command does.
func run(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error {
	if len(args) != 2 {
		return errors.New("usage: conformance PROTO_DIR GRPC_SERVER")
	}
	raw, err := readFrame(stdin)
	if err != nil {
		return err
	}
	cfg, err := parseConfig(raw)
	if err != nil {
		return err
	}
	upstream, end, err := startUpstream(ctx, args[1])
	if err != nil {
		return err
	}
	defer end()
	handler, err := doors(ctx, args[0], upstream, cfg)
	if err != nil {
		return err
	}
	return serve(ctx, handler, cfg, stdout)
}

// config is a ServerCompatRequest.
type config struct {
	http1, tls bool
	clientCert []byte
	limit      int
	cert, key  []byte
}

// parseConfig reads the fields of ServerCompatRequest by number, since its
// generated code is internal to the suite.
func parseConfig(raw []byte) (config, error) {
	var c config
	err := fields(raw, func(num protowire.Number, n uint64, b []byte) error {
		switch num {
		case 2:
			c.http1 = n == 1
		case 4:
			c.tls = n != 0
		case 5:
			c.clientCert = b
		case 6:
			c.limit = int(n)
		case 7:
			return fields(b, func(num protowire.Number, _ uint64, b []byte) error {
				switch num {
				case 1:
					c.cert = b
				case 2:
					c.key = b
				}
				return nil
			})
		}
		return nil
	})
	return c, err
}

func fields(raw []byte, each func(num protowire.Number, n uint64, b []byte) error) error {
	for len(raw) > 0 {
		num, typ, tag := protowire.ConsumeTag(raw)
		if tag < 0 {
			return protowire.ParseError(tag)
		}
		raw = raw[tag:]
		size := protowire.ConsumeFieldValue(num, typ, raw)
		if size < 0 {
			return protowire.ParseError(size)
		}
		n, _ := protowire.ConsumeVarint(raw)
		b, _ := protowire.ConsumeBytes(raw)
		if err := each(num, n, b); err != nil {
			return err
		}
		raw = raw[size:]
	}
	return nil
}

// startUpstream runs the suite's gRPC server, and returns its address and what
// ends it.
func startUpstream(ctx context.Context, command string) (addr string, end func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, command, "-port", "0")
	end = func() {
		cancel()
		_ = cmd.Wait()
	}
	defer func() {
		if err != nil {
			cancel()
		}
	}()
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	// protocol gRPC, HTTP/2, no TLS, messages of any size
	request := []byte{0x08, 2, 0x10, 2, 0x30, 0xff, 0xff, 0xff, 0x7f}
	if err := writeFrame(in, request); err != nil {
		return "", nil, err
	}
	raw, err := readFrame(out)
	if err != nil {
		return "", nil, fmt.Errorf("upstream: %w", err)
	}
	port := 0
	err = fields(raw, func(num protowire.Number, n uint64, _ []byte) error {
		if num == 2 {
			port = int(n)
		}
		return nil
	})
	return fmt.Sprintf("127.0.0.1:%d", port), end, err
}

// doors builds the doors before the server at upstream.
func doors(ctx context.Context, protos, upstream string, cfg config) (http.Handler, error) {
	compiler := protocompile.Compiler{Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{protos}})}
	files, err := compiler.Compile(ctx, "connectrpc/conformance/v1/service.proto")
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient(upstream, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30)))
	if err != nil {
		return nil, err
	}
	methods := doortest.Methods(files[0].Services().Get(0))
	relay := doortest.Relay{Conn: conn}
	n := native.New(native.Options{Handler: relay, MaxReceiveBytes: cfg.limit})
	g := grpcweb.New(grpcweb.Options{Handler: relay, MaxReceiveBytes: cfg.limit})
	c := connect.New(connect.Options{
		Handler: relay, MaxReceiveBytes: cfg.limit, Codec: reflectcodec.New(), Resolver: files.AsResolver(),
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		call := rpc.NewCall(nil)
		call.Method = methods[r.URL.Path]
		switch {
		case native.Is(r):
			n.Serve(w, r, call)
		case grpcweb.Is(r):
			g.Serve(w, r, call)
		default: // the suite also sends Connect requests that do not say so
			c.Serve(w, r, call)
		}
	}), nil
}

// serve tells the runner the address and serves until ctx is done.
func serve(ctx context.Context, handler http.Handler, cfg config, stdout io.Writer) error {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	var p http.Protocols
	p.SetHTTP1(cfg.http1)
	p.SetHTTP2(cfg.tls)
	p.SetUnencryptedHTTP2(!cfg.tls)
	srv := &http.Server{Handler: handler, Protocols: &p}
	if cfg.tls {
		if srv.TLSConfig, err = tlsConfig(cfg); err != nil {
			return err
		}
	}
	reply := protowire.AppendTag(nil, 1, protowire.BytesType)
	reply = protowire.AppendString(reply, "127.0.0.1")
	reply = protowire.AppendTag(reply, 2, protowire.VarintType)
	reply = protowire.AppendVarint(reply, uint64(lis.Addr().(*net.TCPAddr).Port))
	if cfg.tls {
		reply = protowire.AppendTag(reply, 3, protowire.BytesType)
		reply = protowire.AppendBytes(reply, cfg.cert)
	}
	if err := writeFrame(stdout, reply); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if cfg.tls {
		err = srv.ServeTLS(lis, "", "")
	} else {
		err = srv.Serve(lis)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func tlsConfig(cfg config) (*tls.Config, error) {
	cert, err := tls.X509KeyPair(cfg.cert, cfg.key)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{Certificates: []tls.Certificate{cert}}
	if len(cfg.clientCert) > 0 {
		c.ClientCAs = x509.NewCertPool()
		c.ClientCAs.AppendCertsFromPEM(cfg.clientCert)
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return c, nil
}

// readFrame reads one message with its 4-byte big-endian length.
func readFrame(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}

func writeFrame(w io.Writer, b []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

// Package servetest starts a service of the shop for a test, on a real socket.
package servetest

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/transomhq/transom/examples/shop/internal/serve"
)

// Start serves until the test ends or stop is called, and returns a connection
// to the service. It fails the test if the service ends with an error.
func Start(t *testing.T, seed uint64, register serve.Register) (conn *grpc.ClientConn, stop func()) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve.Serve(ctx, lis, seed, io.Discard, register) }()
	conn, err = grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("service: %v", err)
		}
	})
	t.Cleanup(func() { _ = conn.Close(); stop() })
	return conn, stop
}

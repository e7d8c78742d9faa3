package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// slowness is what SIGUSR1 adds to every answer: more than a try may take.
const slowness = 2 * time.Second

// serveBackend answers every call with an empty message, until SIGTERM lets
// the running ones finish. SIGUSR1 makes it slow or quick again, SIGUSR2 turns
// its answers into errors or back.
func serveBackend(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	var slow, wrong atomic.Bool
	srv := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, ss grpc.ServerStream) error {
		if err := ss.RecvMsg(&emptypb.Empty{}); err != nil {
			return err
		}
		if wrong.Load() {
			return status.Error(codes.Internal, "broken on purpose")
		}
		if slow.Load() {
			select {
			case <-time.After(slowness):
			case <-ss.Context().Done():
			}
		}
		return ss.SendMsg(&emptypb.Empty{})
	}))
	healthpb.RegisterHealthServer(srv, health.NewServer())
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case s := <-signals:
				switch s {
				case syscall.SIGUSR1:
					slow.Store(!slow.Load())
				case syscall.SIGUSR2:
					wrong.Store(!wrong.Load())
				default:
					srv.GracefulStop()
				}
			}
		}
	}()
	fmt.Println("listening on", l.Addr())
	return srv.Serve(l)
}

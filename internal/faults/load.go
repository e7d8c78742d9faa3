package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
)

// patience is how long a client waits for an answer.
const patience = 10 * time.Second

// load is a steady stream of calls, each made at its time whether or not those
// before have been answered.
type load struct {
	conn    *grpc.ClientConn
	cancel  context.CancelFunc
	running sync.WaitGroup

	total  atomic.Int64
	mu     sync.Mutex
	failed []time.Time // when failed calls began
	first  error
	slow   time.Duration // the slowest answer
}

func startLoad(address string, rate int) (*load, error) {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{conn: conn, cancel: cancel}
	l.running.Go(func() { l.run(ctx, rate) })
	return l, nil
}

func (l *load) run(ctx context.Context, rate int) {
	start := time.Now()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for made := int64(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for due := int64(time.Since(start).Seconds() * float64(rate)); made < due; made++ {
			l.running.Go(l.call)
		}
	}
}

func (l *load) call() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	began := time.Now()
	err := l.conn.Invoke(ctx, "/faults.v1.Probe/Ping", &emptypb.Empty{}, &emptypb.Empty{})
	l.total.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slow = max(l.slow, time.Since(began))
	if err != nil {
		l.failed = append(l.failed, began)
		if l.first == nil {
			l.first = err
		}
	}
}

// end makes no more calls and waits for those that run.
func (l *load) end() {
	l.cancel()
	l.running.Wait()
	_ = l.conn.Close()
}

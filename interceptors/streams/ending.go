package streams

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
)

// ReasonEnding is the reason for which a stream is ended when its server ends:
// open it again, elsewhere.
const ReasonEnding = "STREAM_SERVER_ENDING"

// Ending tells streams that their server is about to end. Streams that their
// clients can open again without loss (Rules.Reopens) then end one by one, so
// that not all come back at once; all others run on. NewEnding makes one.
type Ending struct {
	ctx    context.Context
	cancel context.CancelFunc
	spread atomic.Int64
	once   sync.Once
}

// NewEnding returns an Ending that has not begun.
func NewEnding() *Ending {
	e := &Ending{}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	return e
}

// Begin ends streams, each at a time of its own within spread. Only the first
// call counts.
func (e *Ending) Begin(spread time.Duration) {
	e.once.Do(func() {
		e.spread.Store(int64(max(spread, 1)))
		e.cancel()
	})
}

// watch ends s when its time has come. stop gives up watching.
func (e *Ending) watch(s *stream) (stop func() bool) {
	return context.AfterFunc(e.ctx, func() {
		timer := time.NewTimer(rand.N(time.Duration(e.spread.Load()))) //nolint:gosec // a spread, not a secret
		defer timer.Stop()
		select {
		case <-timer.C:
			s.cancel(ended(codes.Unavailable, ReasonEnding, "the server is about to end; open the stream again").
				WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)}))
		case <-s.ctx.Done():
		}
	})
}

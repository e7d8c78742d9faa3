package streams_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/transomhq/transom/interceptors/streams"
	"github.com/transomhq/transom/rpc"
)

// client is the client's side of a stream; what it reads goes through took.
type client struct {
	grpc.ServerStream
	ctx     context.Context
	took    chan string
	trailer metadata.MD
}

func (c *client) Context() context.Context  { return c.ctx }
func (c *client) SetTrailer(md metadata.MD) { c.trailer = md }
func (c *client) SendMsg(m any) error {
	b, err := m.(*rpc.Message).Bytes()
	c.took <- string(b)
	return err
}

func reason(err error) string {
	for _, d := range rpc.StatusOf(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

func run(c *client, rules streams.Rules, ending *streams.Ending, handler grpc.StreamHandler) error {
	intercept := streams.Stream(streams.Options{Rules: func(string) streams.Rules { return rules }, Ending: ending})
	return intercept(nil, c, &grpc.StreamServerInfo{IsServerStream: true}, handler)
}

// until sends a message each time, until the stream ends.
func until(every time.Duration) grpc.StreamHandler {
	return func(_ any, ss grpc.ServerStream) error {
		for {
			select {
			case <-ss.Context().Done():
				return ss.Context().Err()
			case <-time.After(every):
				if err := ss.SendMsg(&wrapperspb.StringValue{Value: "x"}); err != nil {
					return err
				}
			}
		}
	}
}

func TestRules(t *testing.T) {
	for name, tt := range map[string]struct {
		rules  streams.Rules
		every  time.Duration
		lo, hi time.Duration
		reason string
	}{
		"idle":             {streams.Rules{Idle: time.Minute}, time.Hour, time.Minute, time.Minute, streams.ReasonIdle},
		"not idle":         {streams.Rules{Idle: time.Minute, MaxAge: time.Hour}, 50 * time.Second, 54 * time.Minute, 66 * time.Minute, streams.ReasonMaxAge},
		"first message":    {streams.Rules{FirstMessage: time.Minute}, time.Hour, time.Minute, time.Minute, streams.ReasonFirstMessage},
		"first is in time": {streams.Rules{FirstMessage: time.Minute, MaxAge: time.Hour}, 50 * time.Second, 54 * time.Minute, 66 * time.Minute, streams.ReasonMaxAge},
		"ending":           {streams.Rules{Reopens: true}, time.Hour, time.Minute, 2 * time.Minute, streams.ReasonEnding},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ending := streams.NewEnding()
				if tt.rules.Reopens {
					time.AfterFunc(time.Minute, func() { ending.Begin(time.Minute) })
				}
				c := &client{ctx: t.Context(), took: make(chan string, 10000)}
				began := time.Now()
				err := run(c, tt.rules, ending, func(srv any, ss grpc.ServerStream) error {
					return until(tt.every)(srv, wrapped{ss})
				})
				if took := time.Since(began); reason(err) != tt.reason || took < tt.lo || took > tt.hi {
					t.Errorf("%v after %v", err, took)
				}
			})
		})
	}
}

// wrapped sends what the gateway's own handlers send.
type wrapped struct{ grpc.ServerStream }

func (w wrapped) SendMsg(m any) error {
	v := m.(*wrapperspb.StringValue)
	msg := rpc.NewMessage(v.ProtoReflect().Descriptor())
	msg.SetBytes([]byte(v.GetValue()))
	return w.ServerStream.SendMsg(msg)
}

// A queue keeps the newest messages for a slow client, and says what it lost.
func TestDropOldest(t *testing.T) {
	c := &client{ctx: t.Context(), took: make(chan string)}
	var got []string
	sent := make(chan struct{})
	done := make(chan error)
	go func() {
		done <- run(c, streams.Rules{Slow: streams.DropOldest}, nil, func(_ any, ss grpc.ServerStream) error {
			for i := range 1000 {
				if err := (wrapped{ss}).SendMsg(&wrapperspb.StringValue{Value: string(rune('a'+i%26)) + time.Duration(i).String()}); err != nil {
					return err
				}
			}
			close(sent)
			return nil
		})
	}()
	<-sent
	for {
		select {
		case m := <-c.took:
			got = append(got, m)
			continue
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		}
		break
	}
	if n := len(got); n < 256 || n > 257 || got[n-1] != "l999ns" {
		t.Errorf("%d messages, the last is %q", n, got[n-1])
	}
	if d := c.trailer[streams.DroppedTrailer]; len(d) != 1 || d[0] != time.Duration(1000 - len(got)).String()[:3] {
		t.Errorf("dropped %q of 1000, %d came", d, len(got))
	}
}

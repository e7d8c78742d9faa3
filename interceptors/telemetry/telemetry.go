package telemetry

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"

	"github.com/transomhq/transom/rpc"
)

// Options configure telemetry. The zero value measures and logs nothing.
type Options struct {
	// Registerer takes the metrics; nil keeps none. One registerer takes them
	// once: a gateway keeps its Telemetry across reloads.
	Registerer prometheus.Registerer
	// Log gets one line a call at level Info (refused by the gateway or failed
	// by the backend's fault: Warn); nil logs nothing.
	Log *slog.Logger
	// Lines takes the line instead of Log where both are set.
	Lines *Lines
}

// Telemetry measures calls. It is safe for concurrent use.
type Telemetry struct {
	metrics *metrics
	log     *slog.Logger
	lines   *Lines
	scratch scratchPool
}

// New returns a Telemetry.
func New(opts Options) *Telemetry {
	t := &Telemetry{log: opts.Log, lines: opts.Lines}
	if opts.Registerer != nil {
		t.metrics = newMetrics(opts.Registerer)
	}
	return t
}

// Unary returns the interceptor for unary calls.
func (t *Telemetry) Unary() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		ctx, call, end := t.begin(ctx, info.FullMethod)
		defer end()
		resp, err := next(ctx, req)
		call.SetResult(err)
		return resp, err
	}
}

// Stream returns the interceptor for all other calls.
func (t *Telemetry) Stream() grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		ctx, call, end := t.begin(ss.Context(), info.FullMethod)
		defer end()
		if ctx != ss.Context() {
			ss = &countedStream{ServerStream: ss, ctx: ctx, call: call}
		}
		err := next(srv, ss)
		call.SetResult(err)
		return err
	}
}

// begin marks a call as running. In a gRPC server without the gateway it opens
// the record as well, and end finishes it; behind a door, the edge does.
func (t *Telemetry) begin(ctx context.Context, method string) (context.Context, *rpc.Call, func()) {
	call, end := rpc.FromContext(ctx), func() {}
	if call == nil {
		call = rpc.NewCall(t.Finish)
		call.Door, call.Method = "grpc", &rpc.Method{Name: method}
		if p, ok := peer.FromContext(ctx); ok {
			call.Client = rpc.AddrOf(p.Addr)
		}
		ctx, end = rpc.NewContext(ctx, call), call.Finish
	}
	if t.metrics == nil {
		return ctx, call, end
	}
	gauge := t.metrics.inFlight(method)
	gauge.Inc()
	return ctx, call, func() { gauge.Dec(); end() }
}

// Finish closes a call's record: it counts the call and writes its line. The
// gateway gives it to every call as the function that runs at its end.
func (t *Telemetry) Finish(call *rpc.Call) {
	took := time.Since(call.Start)
	out := call.Outcome()
	if t.metrics != nil {
		t.metrics.observe(call, out.Code, took.Seconds())
	}
	if t.log != nil || t.lines != nil {
		t.line(call, out, took)
	}
}

func (t *Telemetry) line(call *rpc.Call, out rpc.Outcome, took time.Duration) {
	level := levelOf(out.Code)
	switch {
	case t.lines != nil && !t.lines.enabled(level):
		return
	case t.lines == nil && !t.log.Enabled(context.Background(), level):
		return
	}
	s := t.scratch.get()
	defer t.scratch.put(s)
	s.attrs = appendFields(s.attrs, call, out, took)
	if t.lines != nil {
		t.lines.write(s, time.Now(), level)
		return
	}
	t.log.LogAttrs(context.Background(), level, "call", s.attrs...)
}

// appendFields appends what the line of a call says.
func appendFields(attrs []slog.Attr, call *rpc.Call, out rpc.Outcome, took time.Duration) []slog.Attr {
	attrs = append(attrs, slog.String("door", call.Door))
	if call.Method != nil {
		attrs = append(attrs, slog.String("method", call.Method.Name))
	}
	if call.HTTPMethod != "" {
		attrs = append(attrs, slog.String("http_method", call.HTTPMethod), slog.String("path", call.Path))
	}
	if call.Binding != nil {
		attrs = append(attrs, slog.String("route", call.Binding.Template))
	}
	attrs = append(attrs, slog.String("code", codeText(out.Code)))
	if out.HTTPStatus != 0 {
		attrs = append(attrs, slog.Int("status", out.HTTPStatus))
	}
	attrs = append(attrs, slog.Duration("took", took), slog.String("client", call.Client.String()))
	attrs = appendText(attrs, "host", call.Host)
	attrs = appendText(attrs, "request_id", call.RequestID)
	attrs = appendText(attrs, "user_agent", call.UserAgent)
	attrs = append(attrs,
		slog.Int64("bytes_in", call.BytesIn.Load()), slog.Int64("bytes_out", call.BytesOut.Load()),
		slog.Int64("messages_in", call.MessagesIn.Load()), slog.Int64("messages_out", call.MessagesOut.Load()))
	if p := out.Principal; p != nil {
		attrs = appendText(attrs, "principal", p.Subject)
		attrs = appendText(attrs, "consumer", p.Consumer)
		attrs = appendText(attrs, "credential", p.CredentialID)
	}
	attrs = appendText(attrs, "upstream", out.Cluster)
	attrs = appendText(attrs, "endpoint", out.Endpoint)
	if out.Attempts > 1 {
		attrs = append(attrs, slog.Int("attempts", out.Attempts))
	}
	attrs = append(attrs, out.Attrs...)
	if out.Err != nil {
		attrs = append(attrs, slog.String("error", out.Err.Error()))
	}
	return attrs
}

func appendText(attrs []slog.Attr, key, value string) []slog.Attr {
	if value == "" {
		return attrs
	}
	return append(attrs, slog.String(key, value))
}

// levelOf is Warn for what an operator should look at.
func levelOf(c codes.Code) slog.Level {
	switch c {
	case codes.Unknown, codes.Internal, codes.Unavailable, codes.DataLoss, codes.DeadlineExceeded:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// countedStream counts messages where no door does it.
type countedStream struct {
	grpc.ServerStream
	ctx  context.Context
	call *rpc.Call
}

func (s *countedStream) Context() context.Context { return s.ctx }

func (s *countedStream) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	if err == nil {
		s.call.MessagesIn.Add(1)
	}
	return err
}

func (s *countedStream) SendMsg(m any) error {
	err := s.ServerStream.SendMsg(m)
	if err == nil {
		s.call.MessagesOut.Add(1)
	}
	return err
}

package gateway

import (
	"net/http"
	"slices"
	"time"

	"google.golang.org/grpc/status"

	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/transcoder/rest"
	"github.com/transomhq/transom/transcoder/websocket"
)

// newSockets returns what holds the sockets of all houses: they outlive a
// configuration, so what is said about all of them takes effect at the start.
func newSockets(cfg *configv1.Config) *websocket.Sockets {
	return websocket.NewSockets(socketLimits(cfg))
}

func socketLimits(cfg *configv1.Config) websocket.Limits {
	c := cfg.GetWebsocket()
	return websocket.Limits{
		Sockets: int(c.GetMaxSockets()), PerClient: int(c.GetMaxSocketsPerClient()),
		PingInterval: orNever(c.GetPingInterval().AsDuration()), PongTimeout: c.GetPongTimeout().AsDuration(),
		DrainSpread: orNever(c.GetDrainSpread().AsDuration()), DrainPerSecond: int(c.GetDrainPerSecond()),
		Tickets: c.GetTicketLife().AsDuration(),
	}
}

// orNever makes 0, which says "never" in a configuration, what says so in options.
func orNever(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// buildSockets makes the WebSocket door, nil where there is none. The REST
// door, which is there already, lends it what it knows of messages and headers.
func (g *Gateway) buildSockets(h *house, cfg *configv1.Config, handler rpc.Handler) (err error) {
	c := cfg.GetWebsocket()
	if c.GetDisabled() {
		return nil
	}
	wholes := h.rest.Wholes()
	h.sockets, err = websocket.New(websocket.Options{
		Sockets: g.sockets, Handler: handler,
		Bind: func(r *http.Request, call *rpc.Call, match *rpc.Match) websocket.Shape {
			return shape{h.rest.Bind(r, call, match)}
		},
		Whole: func(m *rpc.Method) (websocket.Shape, error) {
			s, err := wholes.Shape(m)
			return shape{s}, err
		},
		Method:            func(name string) *rpc.Method { return h.methods[name] },
		Metadata:          h.rest.Metadata,
		Timeout:           h.rest.Timeout,
		Status:            func(dst []byte, st *status.Status) []byte { return h.rest.AppendStatus(dst, st) },
		Refuse:            h.rest.Refuse,
		GRPCGateway:       cfg.GetRest().GetProfile() == configv1.Profile_PROFILE_GRPC_GATEWAY,
		Origins:           c.GetOrigins(),
		Cookie:            c.GetCookie(),
		MaxMessageBytes:   int(c.GetMaxMessageBytes()),
		MessagesPerSecond: int(c.GetMessagesPerSecond()),
		MaxCalls:          int(c.GetMaxCallsPerSocket()),
		HandshakeTimeout:  c.GetHandshakeTimeout().AsDuration(),
		IdleTimeout:       orNever(c.GetIdleTimeout().AsDuration()),
		Compression:       c.GetCompression(),
	})
	h.manyPath, h.ticketPath = c.GetPath(), c.GetTicketPath()
	return err
}

// isMany reports whether r asks for a socket of many calls.
func (h *house) isMany(r *http.Request, call *rpc.Call) bool {
	return h.sockets != nil && call.Path == h.manyPath && h.manyPath != "" && websocket.Is(r)
}

// isSocket reports whether r asks for a socket, or for a ticket to one.
func (h *house) isSocket(r *http.Request, call *rpc.Call) bool {
	return h.sockets != nil && (call.Path == h.ticketPath && h.ticketPath != "" || websocket.Is(r))
}

// serveSocket serves a socket of one call, at the path of its method's binding.
func (h *house) serveSocket(w http.ResponseWriter, r *http.Request, call *rpc.Call) {
	if call.Path == h.ticketPath {
		h.sockets.ServeTicket(w, r, call)
		return
	}
	match := matches.get()
	defer matches.put(match)
	if err := h.matchSocket(r, call.Path, match); err != nil {
		call.Door = "websocket"
		call.SetResult(err)
		h.rest.Refuse(w, r, call, err)
		return
	}
	h.sockets.Serve(w, r, call, match)
}

// enterSockets enters the house that serves now, for one call of many.
func (g *Gateway) enterSockets() (*websocket.Door, func()) {
	h := g.enter()
	if h == nil {
		return nil, func() {}
	}
	if h.sockets == nil { // a reload has turned them off
		h.leave()
		return nil, func() {}
	}
	return h.sockets, h.leave
}

// matchSocket finds the binding that a socket's path means. Browsers always
// send GET, so any binding of the path may be meant: the one whose HTTP method
// is asked for, else one that streams, else GET's, else the first.
func (h *house) matchSocket(r *http.Request, path string, match *rpc.Match) *rpc.Error {
	if method := h.sockets.HTTPMethod(r); method != "" {
		return h.router.Match(method, path, match)
	}
	methods := slices.DeleteFunc(h.router.Allow(path), func(m string) bool {
		return m == http.MethodGet || m == http.MethodHead || m == http.MethodOptions
	})
	first := ""
	for _, method := range append([]string{http.MethodGet}, methods...) {
		match.Reset()
		if h.router.Match(method, path, match) != nil {
			continue
		}
		if !match.Binding.Method.Unary() {
			return nil
		}
		if first == "" {
			first = method
		}
	}
	match.Reset()
	if first == "" {
		first = http.MethodGet // for its refusal
	}
	return h.router.Match(first, path, match)
}

// shape makes the REST door's shapes those of the WebSocket door.
type shape struct{ *rest.Shape }

// AppendRequest implements websocket.Shape.
func (s shape) AppendRequest(dst, body []byte, kind websocket.Body, contentType string) ([]byte, error) {
	switch kind {
	case websocket.JSON:
		return s.RequestJSON(dst, body)
	case websocket.Proto:
		return s.RequestProto(dst, body)
	case websocket.Raw:
		return s.RequestRaw(dst, body, contentType)
	case websocket.NoBody:
	}
	return s.RequestURL(dst)
}

// AppendResponse implements websocket.Shape.
func (s shape) AppendResponse(dst, wire []byte, kind websocket.Body) ([]byte, string, error) {
	var err error
	switch kind {
	case websocket.Proto:
		dst, err = s.ResponseProto(dst, wire)
		return dst, "", err
	case websocket.Raw:
		return s.ResponseRaw(dst, wire)
	case websocket.JSON, websocket.NoBody:
	}
	dst, err = s.ResponseJSON(dst, wire)
	return dst, "", err
}

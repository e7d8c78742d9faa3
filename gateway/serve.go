package gateway

import (
	"net/http"
	"strings"

	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/transcoder/connect"
	"github.com/transomhq/transom/transcoder/grpcweb"
	"github.com/transomhq/transom/transcoder/native"
)

// serve is the way of a request: the edge is behind it, upstream before it.
// Which door it takes is said by the request itself; everything but gRPC's own
// protocols is REST.
func (g *Gateway) serve(w http.ResponseWriter, r *http.Request, call *rpc.Call) {
	h := g.enter()
	if h == nil {
		http.Error(w, "the gateway has ended", http.StatusServiceUnavailable)
		return
	}
	if h.isMany(r, call) { // enters for each of its calls
		h.callers.carriers.take(r, call)
		h.leave()
		g.sockets.ServeMany(w, r, call, g.enterSockets)
		return
	}
	defer h.leave()
	if h.crossOrigin(w, r, call) {
		return // a browser's own question
	}
	h.callers.carriers.take(r, call)
	switch {
	case h.isSocket(r, call):
		h.serveSocket(w, r, call)
	case native.Is(r):
		call.Method = h.methods[call.Path]
		h.native.Serve(w, r, call)
	case grpcweb.Is(r):
		call.Method = h.methods[call.Path]
		h.web.Serve(w, r, call)
	case connect.Is(r):
		call.Method = h.methods[call.Path]
		h.connect.Serve(w, r, call)
	default:
		h.serveREST(w, r, call)
	}
}

// serveREST finds the binding that a path means and hands it to the REST door.
func (h *house) serveREST(w http.ResponseWriter, r *http.Request, call *rpc.Call) {
	match := matches.get()
	defer matches.put(match)
	if err := h.match(r, call.Path, match); err != nil {
		if allow := h.router.Allow(call.Path); r.Method == http.MethodOptions && len(allow) > 0 {
			answerOptions(w, call, allow)
			return
		}
		h.rest.Refuse(w, r, call, err)
		return
	}
	call.Binding, call.Method = match.Binding, match.Binding.Method
	h.rest.Serve(w, r, call, match)
}

// match finds the binding that a request means. grpc-gateway takes a POST of
// a form for a GET, or for what X-HTTP-Method-Override says, where nothing is
// bound to POST; its clients may rely on that.
func (h *house) match(r *http.Request, path string, match *rpc.Match) *rpc.Error {
	method := r.Method
	form := h.formForGet && method == http.MethodPost && r.Header.Get("Content-Type") == "application/x-www-form-urlencoded"
	if over := r.Header.Get("X-Http-Method-Override"); form && over != "" {
		method = strings.ToUpper(over)
	}
	err := h.router.Match(method, path, match)
	if err != nil && form && method == http.MethodPost {
		match.Reset()
		if h.router.Match(http.MethodGet, path, match) == nil {
			return nil
		}
	}
	return err
}

// answerOptions says which HTTP methods a known path has.
func answerOptions(w http.ResponseWriter, call *rpc.Call, allow []string) {
	call.Door = "rest"
	w.Header().Set("Allow", strings.Join(allow, ", "))
	w.WriteHeader(http.StatusNoContent)
	call.Update(func(o *rpc.Outcome) { o.HTTPStatus = http.StatusNoContent })
}

// enter returns the house that serves now, with the call counted in; nil after
// the gateway's end.
func (g *Gateway) enter() *house {
	for {
		h := g.house.Load()
		if h == nil || h.enter() {
			return h
		}
		// It was swapped out and closed in between: the next one is there.
	}
}

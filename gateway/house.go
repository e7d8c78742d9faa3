package gateway

import (
	"sync/atomic"

	"github.com/transomhq/transom/interceptors/policy"
	"github.com/transomhq/transom/router"
	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/schema"
	"github.com/transomhq/transom/transcoder/connect"
	"github.com/transomhq/transom/transcoder/grpcweb"
	"github.com/transomhq/transom/transcoder/native"
	"github.com/transomhq/transom/transcoder/rest"
	"github.com/transomhq/transom/transcoder/websocket"
	"github.com/transomhq/transom/upstream/traffic"
)

// house is everything that was built from one configuration and one schema. It
// is immutable. A call enters it once and finishes in it, whatever house is
// the gateway's by then; the last one to leave an old house turns off the light.
type house struct {
	schema   *schema.Snapshot
	policies *policy.Set
	backends *backends
	self     *self
	// routesShaped are the routes that split or mirror, by selector.
	routesShaped []*traffic.Route
	callers      *callers
	cors         *origins // nil: no page of another origin may call

	router *router.Table
	// formForGet takes a POST of a form for a GET (profile grpc-gateway).
	formForGet bool

	methods map[string]*rpc.Method // by full method name, the gateway's own included

	rest    *rest.Door
	native  *native.Door
	web     *grpcweb.Door
	connect *connect.Door
	sockets *websocket.Door // nil: none

	manyPath, ticketPath string // of sockets

	advice   []string // what serves, but perhaps not as its author thinks
	material string   // a digest of the files that the clusters were opened with

	refs    atomic.Int64 // the gateway's own and one for each running call
	release []func()     // gives back what houses share
}

// enter counts a call in, and reports false for a house that is closed.
func (h *house) enter() bool {
	for {
		n := h.refs.Load()
		if n == 0 {
			return false
		}
		if h.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// leave counts a call out.
func (h *house) leave() {
	if h.refs.Add(-1) == 0 {
		h.close()
	}
}

func (h *house) close() {
	for _, f := range h.release {
		f()
	}
}

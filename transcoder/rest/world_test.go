package rest_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/transomhq/transom/internal/story"
	"github.com/transomhq/transom/router"
	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/schema"
	"github.com/transomhq/transom/transcoder/codec/direct"
	"github.com/transomhq/transom/transcoder/rest"
)

// world is the door with a router before it, and behind it a handler that
// reads the request and answers as it is told.
type world struct {
	door   *rest.Door
	table  *router.Table
	handle func(*rpc.Call, *rpc.Message) (*rpc.Message, error)
}

// newWorld serves the stories' base.proto.
func newWorld(tb testing.TB, opts rest.Options) *world {
	tb.Helper()
	text, err := os.ReadFile("../../internal/story/testdata/base.proto")
	if err != nil {
		tb.Fatal(err)
	}
	own := story.Compile(tb, map[string]string{"base.proto": string(text)}).Own
	s, err := schema.Load(tb.Context(), schema.Options{Files: own})
	if err != nil {
		tb.Fatal(err)
	}
	w := &world{}
	if w.table, err = router.New(s.Bindings, router.Options{}); err != nil {
		tb.Fatal(err)
	}
	opts.Handler, opts.Codec, opts.Resolver = w, direct.New(), s.Types
	if w.door, err = rest.New(s.Bindings, opts); err != nil {
		tb.Fatal(err)
	}
	return w
}

// Unary reads the request, as an upstream would.
func (w *world) Unary(_ context.Context, call *rpc.Call, req *rpc.Message) (*rpc.Message, error) {
	if err := req.Load(); err != nil {
		return nil, err
	}
	return w.handle(call, req)
}

// Stream is not called: the methods at hand are unary.
func (*world) Stream(*rpc.Call, grpc.ServerStream) error { return errors.New("no stream is served") }

func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	call := rpc.NewCall(nil)
	var match rpc.Match
	if err := w.table.Match(r.Method, r.URL.EscapedPath(), &match); err != nil {
		w.door.Refuse(rw, r, call, err)
		return
	}
	w.door.Serve(rw, r, call, &match)
}

// decode returns what a backend would see of a request.
func decode(req *rpc.Message) (protoreflect.Message, error) {
	wire, err := req.Bytes()
	if err != nil {
		return nil, err
	}
	m := dynamicpb.NewMessage(req.Descriptor())
	return m, proto.Unmarshal(wire, m)
}

package authz

import (
	"context"
	"fmt"
	"time"

	"cel.dev/cel-go/interpreter"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/transomhq/transom/rpc"
)

// facts are what is known about a call. They are CEL's variables, worked out
// when a rule asks. They belong to one goroutine at a time.
type facts struct {
	ctx     context.Context
	call    *rpc.Call
	plan    *plan
	who     *rpc.Principal
	asked   bool // who is known
	message any  // as it came; nil before it has
	request any  // decoded
	now     time.Time
}

var _ interpreter.Activation = (*facts)(nil)

// principal returns who is calling, nil for nobody.
func (f *facts) principal() *rpc.Principal {
	if !f.asked {
		f.who, f.asked = f.call.Principal(), true
	}
	return f.who
}

// again makes f ready for the next message of the call, whose principal may
// have renewed its credential.
func (f *facts) again(message any) {
	f.message, f.request, f.asked, f.now = message, nil, false, time.Time{}
}

// decode reads the message for rules.
func (f *facts) decode() error {
	m, ok := f.message.(*rpc.Message)
	if !ok {
		if _, ok := f.message.(proto.Message); !ok {
			return rpc.Errorf(codes.Internal, "internal error").WithCause(fmt.Errorf("message is a %T", f.message))
		}
		f.request = f.message
		return nil
	}
	if err := m.Load(); err != nil {
		return err
	}
	view, err := m.View()
	if err != nil {
		return rpc.Errorf(codes.InvalidArgument, "the request is not a valid %s message", m.Descriptor().FullName()).WithCause(err)
	}
	f.request = view.Interface()
	return nil
}

// Parent returns nil: there are no other variables.
func (f *facts) Parent() interpreter.Activation { return nil }

// ResolveName returns the value of a variable.
func (f *facts) ResolveName(name string) (any, bool) {
	switch name {
	case "request":
		return f.request, f.request != nil
	case "metadata":
		md, _ := metadata.FromIncomingContext(f.ctx)
		return map[string][]string(md), true
	case "client.ip":
		if !f.call.Client.IsValid() {
			return "", true
		}
		return f.call.Client.String(), true
	case "method":
		return f.plan.method, true
	case "now":
		if f.now.IsZero() {
			f.now = time.Now()
		}
		return f.now, true
	}
	return f.ofPrincipal(name)
}

func (f *facts) ofPrincipal(name string) (any, bool) {
	who := f.principal()
	if name == "principal.authenticated" {
		return who != nil, true
	}
	if who == nil {
		who = &rpc.Principal{}
	}
	switch name {
	case "principal.subject":
		return who.Subject, true
	case "principal.issuer":
		return who.Issuer, true
	case "principal.consumer":
		return who.Consumer, true
	case "principal.credential":
		return who.CredentialID, true
	case "principal.method":
		return who.Method, true
	case "principal.scopes":
		return who.Scopes, true
	case "principal.roles":
		return who.Roles, true
	case "principal.claims":
		return who.Claims, true
	}
	return nil, false
}

package reflectcodec

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/transomhq/transom/transcoder/codec"
)

const defaultDepth = 100

// New returns the codec.
func New() codec.Codec { return reference{} }

type reference struct{}

// Compile returns the plan for root. It fails only if root has no message, or
// a field that is not one of its message.
func (reference) Compile(root codec.Root, opts codec.Options) (codec.Plan, error) {
	if root.Message == nil {
		return nil, fmt.Errorf("a plan needs a message")
	}
	if f := root.Field; f != nil && f.ContainingMessage().FullName() != root.Message.FullName() {
		return nil, fmt.Errorf("field %s is not in message %s", f.FullName(), root.Message.FullName())
	}
	if opts.Resolver == nil {
		opts.Resolver = protoregistry.GlobalTypes
	}
	if opts.MaxDepth <= 0 {
		opts.MaxDepth = defaultDepth
	}
	p := &plan{root: root, opts: opts, typ: dynamicpb.NewMessageType(root.Message)}
	if root.Field != nil {
		p.prefix = fieldPrefix(root.Field)
	}
	return p, nil
}

// plan transcodes through message objects.
type plan struct {
	root   codec.Root
	opts   codec.Options
	typ    protoreflect.MessageType
	prefix string // `{"name":`, which makes a message of the text of a field root
}

func (p *plan) message() proto.Message { return p.typ.New().Interface() }

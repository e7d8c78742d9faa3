package direct

import (
	"fmt"
	"reflect"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/transomhq/transom/transcoder/codec"
)

const defaultDepth = 100

type resolver = codec.Resolver

// New returns a codec. Its plans share their tables as far as their options
// allow; make one codec for each schema snapshot, so that the tables of old
// schemas go with them.
func New() codec.Codec {
	return &direct{families: map[familyKey]*family{}}
}

type direct struct {
	mu       sync.Mutex
	families map[familyKey]*family
}

type familyKey struct {
	style    style
	resolver resolver
}

// Compile returns the plan for root. It is cheap: tables are made when a type
// is first met. It fails only if root has no message, or a field that is not
// one of its message.
func (d *direct) Compile(root codec.Root, opts codec.Options) (codec.Plan, error) {
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
	fam := d.family(opts)
	p := &plan{family: fam, message: fam.message(root.Message), opts: opts}
	if root.Field != nil {
		p.field = fam.single(root.Field)
		if f := p.message.tables().field(root.Field.Number()); f != nil {
			p.field = f
		}
	}
	return p, nil
}

func (d *direct) family(opts codec.Options) *family {
	key := familyKey{
		style: style{
			protoNames: opts.UseProtoNames, enumNumbers: opts.UseEnumNumbers,
			bareInt64: opts.Int64AsNumber, unpopulated: opts.EmitUnpopulated,
		},
		resolver: opts.Resolver,
	}
	if !reflect.ValueOf(opts.Resolver).Comparable() {
		return newFamily(key)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.families[key]
	if f == nil {
		f = newFamily(key)
		d.families[key] = f
	}
	return f
}

func newFamily(key familyKey) *family {
	return &family{
		style:    key.style,
		resolver: key.resolver,
		messages: map[protoreflect.MessageDescriptor]*message{},
		enums:    map[protoreflect.EnumDescriptor]*enum{},
	}
}

// plan is a root with its options.
type plan struct {
	family  *family
	message *message
	field   *field // nil for the whole message
	opts    codec.Options
}

// AppendWire implements codec.Plan.
func (p *plan) AppendWire(dst, text []byte) ([]byte, error) {
	r := p.family.reader()
	out, err := r.run(p, dst, text)
	p.family.releaseReader(r)
	return out, err
}

// AppendJSON implements codec.Plan.
func (p *plan) AppendJSON(dst, wire []byte) ([]byte, error) {
	w := p.family.writer()
	out, err := w.run(p, dst, wire)
	p.family.releaseWriter(w)
	return out, err
}

package traffic

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/transomhq/transom/rpc"
)

// nowhere ends calls at once.
type nowhere struct{}

func (nowhere) Unary(*rpc.Method) grpc.UnaryHandler {
	return func(context.Context, any) (any, error) { return nil, nil }
}

func (nowhere) Stream(*rpc.Method) grpc.StreamHandler { return nil }

func emptyMethod(b *testing.B) *rpc.Method {
	name, kind := "test.proto", ".test.Empty"
	text := func(s string) *string { return &s }
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: &name, Package: text("test"), MessageType: []*descriptorpb.DescriptorProto{{Name: text("Empty")}},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: text("S"), Method: []*descriptorpb.MethodDescriptorProto{{Name: text("M"), InputType: &kind, OutputType: &kind}}}},
	}, nil)
	if err != nil {
		b.Fatal(err)
	}
	return rpc.NewMethod(file.Services().Get(0).Methods().Get(0))
}

// BenchmarkShape is what sharing costs a call, beside the call itself.
func BenchmarkShape(b *testing.B) {
	m := emptyMethod(b)
	subsets := []Subset{{Name: "stable", Weight: 95}, {Name: "canary", Weight: 5}}
	for name, opts := range map[string]*Options{
		"no split": nil,
		"split":    {Subsets: subsets, Sticky: Sticky{Principal: true}},
		"ramp":     {Subsets: subsets, Sticky: Sticky{Principal: true}, Ramp: &Ramp{Subset: 1, From: 5, To: 5, Stop: &Stop{ErrorPoints: 2, MinCalls: 100, Window: time.Minute}}},
	} {
		b.Run(name, func(b *testing.B) {
			var shaped *Shaped
			if opts != nil {
				shaped = &Shaped{Route: NewRoute(*opts), Subsets: []Terminal{nowhere{}, nowhere{}}}
			}
			s := NewShape(nowhere{}, func(*rpc.Method) *Shaped { return shaped })
			defer s.Close()
			handle, msg := s.Unary(m), rpc.NewMessage(m.Desc.Input())
			who := &rpc.Principal{Issuer: "https://login.example", Subject: "user-4711"}
			b.ReportAllocs()
			for b.Loop() {
				call := rpc.Call{}
				call.SetPrincipal(who)
				if _, err := handle(rpc.NewContext(b.Context(), &call), msg); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

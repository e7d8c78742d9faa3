package rest_test

import (
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/transcoder/codec/direct"
	"github.com/transomhq/transom/transcoder/doortest"
	"github.com/transomhq/transom/transcoder/rest"
)

// tickerMethod is a server stream of events like those of an order on its way.
func tickerMethod(b *testing.B) *rpc.Method {
	field := func(name string, n int32, typ descriptorpb.FieldDescriptorProto_Type) *descriptorpb.FieldDescriptorProto {
		return &descriptorpb.FieldDescriptorProto{Name: proto.String(name), JsonName: proto.String(name), Number: proto.Int32(n), Type: typ.Enum(),
			Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()}
	}
	fd, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("ticker.proto"), Package: proto.String("bench"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{
			{Name: proto.String("Want")},
			{Name: proto.String("Tick"), Field: []*descriptorpb.FieldDescriptorProto{
				field("sequence", 1, descriptorpb.FieldDescriptorProto_TYPE_UINT64), field("order", 2, descriptorpb.FieldDescriptorProto_TYPE_STRING),
				field("latitude", 3, descriptorpb.FieldDescriptorProto_TYPE_DOUBLE), field("longitude", 4, descriptorpb.FieldDescriptorProto_TYPE_DOUBLE),
				field("note", 5, descriptorpb.FieldDescriptorProto_TYPE_STRING),
			}},
		},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("Ticker"), Method: []*descriptorpb.MethodDescriptorProto{{
			Name: proto.String("Watch"), InputType: proto.String(".bench.Want"), OutputType: proto.String(".bench.Tick"), ServerStreaming: proto.Bool(true),
		}}}},
	}, protoregistry.GlobalFiles)
	if err != nil {
		b.Fatal(err)
	}
	return rpc.NewMethod(fd.Services().Get(0).Methods().Get(0))
}

// tick is an event of 200 bytes on the wire.
func tick() []byte {
	b := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 123456)
	b = protowire.AppendString(protowire.AppendTag(b, 2, protowire.BytesType), "o-1001")
	b = protowire.AppendFixed64(protowire.AppendTag(b, 3, protowire.Fixed64Type), 0x404a0b7803468b2f)
	b = protowire.AppendFixed64(protowire.AppendTag(b, 4, protowire.Fixed64Type), 0x40148f1d14e3bcd3)
	return protowire.AppendString(protowire.AppendTag(b, 5, protowire.BytesType), strings.Repeat("on its way, ", 20)[:200-len(b)-3])
}

// BenchmarkServerStream sends one message of 200 bytes an iteration through the
// door and a real connection, as fast as the client reads; cpu-ns/op counts the
// whole process, the client with it.
func BenchmarkServerStream(b *testing.B) {
	method := tickerMethod(b)
	binding := &rpc.Binding{Method: method, HTTPMethod: "GET", Template: "/ticks"}
	method.Bindings = []*rpc.Binding{binding}
	for name, accept := range map[string]string{"ndjson": "application/x-ndjson", "sse": "text/event-stream", "array": "application/json", "proto": "application/x-protobuf"} {
		b.Run(name, func(b *testing.B) {
			source := ticker{n: b.N, wire: tick()}
			door, err := rest.New(method.Bindings, rest.Options{Handler: source, Codec: direct.New()})
			if err != nil {
				b.Fatal(err)
			}
			edge := doortest.Listen(b, false, nil, func(w http.ResponseWriter, r *http.Request, call *rpc.Call) {
				door.Serve(w, r, call, &rpc.Match{Binding: binding})
			})
			req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, edge.URL+"/ticks", nil)
			if err != nil {
				b.Fatal(err)
			}
			req.Header.Set("Accept", accept)
			b.ReportAllocs()
			before := cpu()
			b.ResetTimer()
			resp, err := edge.Client(b, false).Do(req)
			if err != nil {
				b.Fatal(err)
			}
			n, err := io.Copy(io.Discard, resp.Body)
			if err != nil || n < int64(b.N)*100 {
				b.Fatal(n, err)
			}
			_ = resp.Body.Close()
			b.StopTimer()
			b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// ticker is a handler that sends n times the same message.
type ticker struct {
	rpc.Handler
	n    int
	wire []byte
}

func (h ticker) Stream(call *rpc.Call, ss grpc.ServerStream) error {
	if err := ss.RecvMsg(rpc.NewMessage(call.Method.Desc.Input())); err != nil {
		return err
	}
	m := rpc.NewMessage(call.Method.Desc.Output())
	for range h.n {
		m.SetBytes(h.wire)
		if err := ss.SendMsg(m); err != nil {
			return err
		}
	}
	return nil
}

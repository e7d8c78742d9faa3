package oracle

import (
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

func metadataOf(pairs ...string) metadata.MD { return metadata.Pairs(pairs...) }

// detail makes a detail of an error; a few have a type that nobody knows.
func (g *generator) detail() *anypb.Any {
	if g.chance(10) {
		return &anypb.Any{TypeUrl: "type.googleapis.com/shop.secret.v1.Reason", Value: []byte("\x0a\x03tea")}
	}
	detail, err := anypb.New(pick[proto.Message](g.random,
		&errdetails.ErrorInfo{Reason: "OUT_OF_TEA", Domain: "shop.example", Metadata: map[string]string{"left": "0"}},
		&errdetails.RetryInfo{RetryDelay: &durationpb.Duration{Seconds: 1, Nanos: 500_000_000}},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "order.items[0].sku", Description: "unknown"}}},
		&errdetails.ResourceInfo{ResourceType: "shop.example/order", ResourceName: g.word()},
		&errdetails.LocalizedMessage{Locale: "de", Message: "Der Tee ist aus"},
	))
	if err != nil {
		panic(err) // valid messages
	}
	return detail
}

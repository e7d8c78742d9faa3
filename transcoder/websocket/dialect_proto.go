package websocket

import (
	"net/http"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	websocketv1 "github.com/transomhq/transom/gen/transom/websocket/v1"
	"github.com/transomhq/transom/transcoder/websocket/frame"
)

// protoDialect is transom.v1+proto: one Frame a binary frame.
type protoDialect struct{}

func (protoDialect) parse(text bool, p []byte, e *event) error {
	if text {
		return &frame.Error{Code: frame.CodeUnsupported, Reason: "this subprotocol is binary only"}
	}
	var f websocketv1.Frame
	if err := (proto.UnmarshalOptions{RecursionLimit: 10}).Unmarshal(p, &f); err != nil {
		return &frame.Error{Code: frame.CodeInvalidData, Reason: "envelope: not a transom.websocket.v1.Frame"}
	}
	e.id, e.halfClose, e.cancel, e.ack = f.GetId(), f.GetHalfClose(), f.GetCancel(), int(f.GetAck())
	if f.GetAuth() != nil {
		e.token, e.auth = f.GetAuth().GetToken(), true
	}
	if f.Message != nil {
		e.body, e.kind = f.GetMessage(), Proto
	}
	if f.Ping != nil {
		e.ping, e.pinged = f.GetPing(), true
	}
	s := f.GetStart()
	if s == nil {
		return nil
	}
	e.start = &start{
		method: methodName(s.GetMethod()), header: http.Header{},
		timeout: time.Duration(min(s.GetTimeoutMs(), 1<<40)) * time.Millisecond,
	}
	if s.Credits != nil {
		n := int(s.GetCredits())
		e.start.credits = &n
	}
	for _, entry := range s.GetHeader().GetEntries() {
		for _, v := range entry.GetValues() {
			e.start.header.Add(entry.GetKey(), v)
		}
	}
	return nil
}

// The numbers of Frame's fields that are written by hand.
const (
	frameID      protowire.Number = 1
	frameMessage protowire.Number = 4
)

func (protoDialect) message(dst []byte, id uint64, shape Shape, wire []byte) (bool, []byte, error) {
	if id != 0 {
		dst = protowire.AppendVarint(protowire.AppendTag(dst, frameID, protowire.VarintType), id)
	}
	body, _, err := shape.AppendResponse(nil, wire, Proto)
	dst = protowire.AppendTag(dst, frameMessage, protowire.BytesType)
	return false, protowire.AppendBytes(dst, body), err
}

func (d protoDialect) header(dst []byte, id uint64, md metadata.MD) (bool, []byte) {
	return d.append(dst, &websocketv1.Frame{Id: id, Header: metadataOf(md)})
}

func (d protoDialect) final(dst []byte, id uint64, st *status.Status, trailer metadata.MD) (bool, []byte) {
	end := &websocketv1.End{Status: st.Proto()}
	if len(trailer) > 0 {
		end.Trailer = metadataOf(trailer)
	}
	return d.append(dst, &websocketv1.Frame{Id: id, End: end})
}

func (d protoDialect) note(dst []byte, id uint64, n note) (bool, []byte) {
	f := &websocketv1.Frame{}
	if id != noID {
		f.Id = id
	}
	switch {
	case n.isPong:
		f.Pong = append([]byte{}, n.pong...)
	case n.goAway > 0:
		f.GoAway = &websocketv1.GoAway{RetryAfterMs: uint64(n.goAway.Milliseconds())}
	case n.renewed:
		f.Auth = &websocketv1.Auth{Accepted: true}
	default:
		f.Ack = uint32(n.ack)
	}
	return d.append(dst, f)
}

func (protoDialect) append(dst []byte, f *websocketv1.Frame) (bool, []byte) {
	p, err := proto.MarshalOptions{}.MarshalAppend(dst, f)
	if err != nil { // metadata that is not UTF-8: the frame is left out
		return false, nil
	}
	return false, p
}

func metadataOf(md metadata.MD) *websocketv1.Metadata {
	out := &websocketv1.Metadata{}
	visible(md, func(key string, values []string) {
		out.Entries = append(out.Entries, &websocketv1.Metadata_Entry{Key: key, Values: values})
	})
	return out
}

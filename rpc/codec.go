package rpc

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"

	_ "google.golang.org/grpc/encoding/proto" // registers "proto", which Codec falls back to
)

// Codec is the gRPC codec of the house: a *Message passes as its bytes,
// undecoded and uncopied; any other message goes the way of grpc-go's own
// "proto" codec. Its zero value is ready for use.
type Codec struct{}

// Name returns "proto": on the wire, both are the same format.
func (Codec) Name() string { return "proto" }

// Marshal returns the wire bytes of v with a reference for the caller.
func (Codec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(*Message)
	if !ok {
		return encoding.GetCodecV2("proto").Marshal(v)
	}
	bufs, err := m.Buffers()
	if err != nil {
		return nil, err
	}
	bufs.Ref()
	return bufs, nil
}

// Unmarshal makes data the bytes of v.
func (Codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*Message)
	if !ok {
		return encoding.GetCodecV2("proto").Unmarshal(data, v)
	}
	data.Ref()
	m.SetBuffers(data)
	return nil
}

package rpc

import (
	"fmt"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// Message is a protobuf message that is bytes first: its wire bytes and its
// descriptor. It satisfies proto.Message, and decodes only when somebody looks.
//
// A request may be lazier still: until Load, its bytes are not even read from
// the client. Interceptors that refuse a call without looking at the message
// therefore refuse before a byte of the body was read.
//
// A Message belongs to one call and is not safe for concurrent use.
type Message struct {
	desc protoreflect.MessageDescriptor
	src  Source // not yet loaded when set
	err  error  // why loading failed
	// bound judges the size of a message that is loaded later.
	bound func(size int) error
	bufs  mem.BufferSlice // the wire bytes; owned
	view  *dynamicpb.Message
	// mutable says that view was handed out for writing, so that the bytes
	// are written anew from it.
	mutable bool
}

// Source gives a lazy message its bytes, once.
type Source interface {
	// Load reads the message and hands its wire bytes to m with SetBuffers or
	// SetBytes. An error is the call's: an *Error with what the client did wrong.
	Load(m *Message) error
}

// NewMessage returns an empty message of type desc.
func NewMessage(desc protoreflect.MessageDescriptor) *Message { return &Message{desc: desc} }

// NewLazyMessage returns a message of type desc whose bytes come from src at first use.
func NewLazyMessage(desc protoreflect.MessageDescriptor, src Source) *Message {
	return &Message{desc: desc, src: src}
}

// MessageOf returns v, as an interceptor or handler passed it on, as a Message
// of type desc. Any other proto.Message is marshalled.
func MessageOf(desc protoreflect.MessageDescriptor, v any) (*Message, error) {
	switch v := v.(type) {
	case *Message:
		return v, nil
	case proto.Message:
		if got := v.ProtoReflect().Descriptor().FullName(); got != desc.FullName() {
			return nil, fmt.Errorf("message is a %s, want %s", got, desc.FullName())
		}
		b, err := proto.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("message %s: %w", desc.FullName(), err)
		}
		m := NewMessage(desc)
		m.SetBytes(b)
		return m, nil
	}
	return nil, fmt.Errorf("message is a %T, want a proto.Message", v)
}

// Descriptor returns the message's type.
func (m *Message) Descriptor() protoreflect.MessageDescriptor { return m.desc }

// Reset empties m and makes it a message of type desc, to be used again.
func (m *Message) Reset(desc protoreflect.MessageDescriptor, src Source) {
	m.bufs.Free()
	*m = Message{desc: desc, src: src}
}

// Load reads the message if it was not read yet. It is cheap to call again.
func (m *Message) Load() error {
	if m.src != nil {
		src := m.src
		m.src = nil
		if m.err = src.Load(m); m.err == nil && m.bound != nil {
			m.err = m.bound(m.bufs.Len())
		}
	}
	return m.err
}

// Bound lets f judge how many wire bytes the message has: now, if it is
// loaded, else when it is. An error of f is Load's, and so the call's.
func (m *Message) Bound(f func(size int) error) error {
	if m.src == nil {
		return f(m.bufs.Len())
	}
	if before := m.bound; before != nil { // the first bound stays
		m.bound = func(size int) error {
			if err := before(size); err != nil {
				return err
			}
			return f(size)
		}
		return nil
	}
	m.bound = f
	return nil
}

// Loaded reports whether the bytes are there already.
func (m *Message) Loaded() bool { return m.src == nil }

// SetBytes makes b, which the message owns from now on, its wire bytes.
func (m *Message) SetBytes(b []byte) { m.SetBuffers(mem.BufferSlice{mem.SliceBuffer(b)}) }

// SetBuffers makes bufs, whose references the message owns from now on, its wire bytes.
func (m *Message) SetBuffers(bufs mem.BufferSlice) {
	m.bufs.Free()
	m.bufs, m.src, m.view, m.mutable = bufs, nil, nil, false
}

// Buffers returns the wire bytes. They are read-only and stay the message's;
// whoever keeps them longer takes a reference.
func (m *Message) Buffers() (mem.BufferSlice, error) {
	if err := m.Load(); err != nil {
		return nil, err
	}
	if m.mutable {
		b, err := proto.MarshalOptions{AllowPartial: true, Deterministic: true}.Marshal(m.view)
		if err != nil {
			return nil, fmt.Errorf("message %s: %w", m.desc.FullName(), err)
		}
		m.bufs.Free()
		m.bufs = mem.BufferSlice{mem.SliceBuffer(b)}
	}
	return m.bufs, nil
}

// Bytes returns the wire bytes in one piece, read-only, valid until the
// message is freed or changed. Bytes in several buffers are copied once.
func (m *Message) Bytes() ([]byte, error) {
	bufs, err := m.Buffers()
	if err != nil {
		return nil, err
	}
	switch len(bufs) {
	case 0:
		return nil, nil
	case 1:
		return bufs[0].ReadOnlyData(), nil
	}
	one := bufs.MaterializeToBuffer(mem.DefaultBufferPool())
	bufs.Free()
	m.bufs = mem.BufferSlice{one}
	return one.ReadOnlyData(), nil
}

// Len returns the number of wire bytes, 0 while not loaded.
func (m *Message) Len() int { return m.bufs.Len() }

// View decodes the message for reading only: a change of the result is lost.
func (m *Message) View() (protoreflect.Message, error) {
	if err := m.Load(); err != nil {
		return nil, err
	}
	if m.view == nil {
		b, err := m.Bytes()
		if err != nil {
			return nil, err
		}
		view := dynamicpb.NewMessage(m.desc)
		if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(b, view); err != nil {
			return nil, fmt.Errorf("message %s: %w", m.desc.FullName(), err)
		}
		m.view = view
	}
	return m.view, nil
}

// ProtoReflect decodes the message for reading and writing; the wire bytes are
// written anew from it. A message that cannot be read reflects as an invalid,
// empty one: call Load or View first to see why.
func (m *Message) ProtoReflect() protoreflect.Message {
	if _, err := m.View(); err != nil {
		return dynamicpb.NewMessageType(m.desc).Zero()
	}
	m.mutable = true
	return m.view
}

// Free gives the message's buffers back. The message is empty afterwards.
func (m *Message) Free() {
	m.bufs.Free()
	m.bufs, m.view, m.mutable = nil, nil, false
}

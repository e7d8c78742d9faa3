package rpc

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
)

// Error is the one error of the house: a code, a text that the client may
// read, details, and a cause that it may not. It is made once, where the
// failure is known; the door renders it once; the call's record logs it once.
//
// It satisfies the GRPCStatus interface, so status.FromError and every
// interceptor of the ecosystem sees the public part as a plain gRPC status.
type Error struct {
	Code    codes.Code
	Message string          // public: what happened, where, what to do
	Details []proto.Message // public: google.rpc details
	Cause   error           // private: never reaches a client
	// HTTPStatus overrides the HTTP status that Code maps to on HTTP doors
	// (405, 406, 413, 415 have no gRPC code of their own); 0 leaves the mapping.
	HTTPStatus int
	// Header are extra response header fields, such as Allow, as name, value pairs.
	Header []string
	// Proxy is the type of RFC 9209 that HTTP doors say in Proxy-Status; ""
	// takes the one that fits Code.
	Proxy ProxyError
}

// Errorf returns an error with a public text.
func Errorf(code codes.Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// WithCause returns e with its private cause set.
func (e *Error) WithCause(cause error) *Error { e.Cause = cause; return e }

// WithDetails returns e with details appended.
func (e *Error) WithDetails(details ...proto.Message) *Error {
	e.Details = append(e.Details, details...)
	return e
}

// WithHTTPStatus returns e with its HTTP status set.
func (e *Error) WithHTTPStatus(code int) *Error { e.HTTPStatus = code; return e }

// Error returns the whole story, cause included: it is for logs, not for clients.
func (e *Error) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Message, e.Cause)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Message)
}

// Unwrap returns the private cause.
func (e *Error) Unwrap() error { return e.Cause }

// GRPCStatus returns the public part as a gRPC status.
func (e *Error) GRPCStatus() *status.Status {
	st := status.New(e.Code, e.Message)
	if len(e.Details) == 0 {
		return st
	}
	details := make([]protoadapt.MessageV1, len(e.Details))
	for i, d := range e.Details {
		details[i] = protoadapt.MessageV1Of(d)
	}
	with, err := st.WithDetails(details...)
	if err != nil { // OK cannot carry details
		return st
	}
	return with
}

// StatusOf returns the public status of err, which every door sends. An error
// that carries no gRPC status says nothing to the client about itself:
// context errors keep their meaning, everything else is INTERNAL.
func StatusOf(err error) *status.Status {
	if err == nil {
		return status.New(codes.OK, "")
	}
	var e *Error
	if errors.As(err, &e) {
		return e.GRPCStatus()
	}
	// Only an error that is itself a status speaks publicly: the text of a
	// wrapper around it was not written for clients.
	var st interface{ GRPCStatus() *status.Status }
	if errors.As(err, &st) {
		return st.GRPCStatus()
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return status.New(codes.DeadlineExceeded, "deadline exceeded")
	case errors.Is(err, context.Canceled):
		return status.New(codes.Canceled, "canceled by the client")
	}
	return status.New(codes.Internal, "internal error")
}

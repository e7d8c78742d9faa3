package serve

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

// domain names the shop in the ErrorInfo of its errors.
const domain = "shop.example"

// Error returns a status with a reason (UPPER_SNAKE_CASE) and details.
func Error(code codes.Code, reason, message string, details ...protoadapt.MessageV1) error {
	info := &errdetails.ErrorInfo{Reason: reason, Domain: domain}
	st, err := status.New(code, message).WithDetails(append([]protoadapt.MessageV1{info}, details...)...)
	if err != nil { // only OK cannot carry details
		return status.Error(codes.Internal, "status with details cannot be OK")
	}
	return st.Err()
}

// NotFound says that the resource of this type and name does not exist.
func NotFound(kind, name string) error {
	return Error(codes.NotFound, strings.ToUpper(kind)+"_NOT_FOUND", fmt.Sprintf("%s %q does not exist", kind, name),
		&errdetails.ResourceInfo{ResourceType: domain + "/" + kind, ResourceName: name})
}

// AlreadyExists says that the resource of this type and name exists already.
func AlreadyExists(kind, name string) error {
	return Error(codes.AlreadyExists, strings.ToUpper(kind)+"_EXISTS", fmt.Sprintf("%s %q exists already", kind, name),
		&errdetails.ResourceInfo{ResourceType: domain + "/" + kind, ResourceName: name})
}

// Invalid says which field of the request is wrong and why.
func Invalid(field, description string) error {
	return Error(codes.InvalidArgument, "INVALID_FIELD", field+": "+description, &errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: field, Description: description}},
	})
}

// FailedPrecondition says what must be done before the call can succeed.
func FailedPrecondition(reason, subject, message string) error {
	return Error(codes.FailedPrecondition, reason, message, &errdetails.PreconditionFailure{
		Violations: []*errdetails.PreconditionFailure_Violation{{Type: reason, Subject: subject, Description: message}},
	})
}

// Conflict says that the resource changed since the caller read it.
func Conflict(kind, name string, have, want uint64) error {
	return Error(codes.Aborted, "REVISION_MISMATCH",
		fmt.Sprintf("%s %q is at revision %d, not %d: read it again", kind, name, have, want),
		&errdetails.ResourceInfo{ResourceType: domain + "/" + kind, ResourceName: name})
}

// Stopped ends a call without an end of its own when the server stops.
func Stopped() error {
	return Error(codes.Unavailable, "STOPPING", "the service is stopping: call again",
		&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)})
}

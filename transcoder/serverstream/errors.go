package serverstream

import (
	"context"
	"errors"
	"net/http"
	"os"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/transomhq/transom/rpc"
)

// readError says publicly why the request could not be read to its end.
func readError(ctx context.Context, err error) *rpc.Error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return rpc.Errorf(codes.ResourceExhausted, "the request body is larger than %d bytes", tooLarge.Limit).WithCause(err)
	case ctx.Err() != nil:
		return contextError(ctx, err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return rpc.Errorf(codes.DeadlineExceeded, "the request body did not arrive in time").WithCause(err)
	}
	return rpc.Errorf(codes.Canceled, "the request body was cut off").WithCause(err)
}

// sendError says why the response could not be sent. As a rule nobody is left
// to read it.
func (s *Stream) sendError(err error) error {
	var e *rpc.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return e
	case s.ctx.Err() != nil:
		return contextError(s.ctx, err)
	}
	return rpc.Errorf(codes.Canceled, "the client went away").WithCause(err)
}

func contextError(ctx context.Context, cause error) *rpc.Error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return rpc.Errorf(codes.DeadlineExceeded, "deadline exceeded").WithCause(cause)
	}
	return rpc.Errorf(codes.Canceled, "canceled by the client").WithCause(cause)
}

// past is a moment that ends whatever waits for it.
func past() time.Time { return time.Unix(1, 0) }

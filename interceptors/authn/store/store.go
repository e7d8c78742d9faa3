package store

import (
	"context"
	"errors"
)

// Store keeps records by bucket and name. It is safe for concurrent use.
type Store interface {
	// Version returns a text that is another one after every change.
	Version(ctx context.Context) (string, error)
	// All returns the records of a bucket by name; none is no error.
	All(ctx context.Context, bucket string) (map[string][]byte, error)
	// Update changes one record: change gets it, nil for none, and returns what
	// it is from now on, nil for none. An error of change changes nothing.
	// change may be called again when somebody else was faster.
	Update(ctx context.Context, bucket, name string, change func(old []byte) ([]byte, error)) error
	// Close gives back what the store holds.
	Close() error
}

// ErrNotFound is for changes of records that must be there.
var ErrNotFound = errors.New("there is no such record")

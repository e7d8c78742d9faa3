package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

// lockTimeout is how long a process waits for another one to be done with the file.
const lockTimeout = 5 * time.Second

// File keeps records in a bbolt file, which it opens for the moment of each
// reading or change only: so several processes of one machine share it.
type File struct {
	path string
	mu   sync.Mutex // the file's lock is between processes
}

var _ Store = (*File)(nil)

// NewFile returns the store of a file, which is made by the first change.
func NewFile(path string) *File { return &File{path: path} }

// Version implements Store: the file's time and size.
func (f *File) Version(context.Context) (string, error) {
	info, err := os.Stat(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d/%d", info.ModTime().UnixNano(), info.Size()), nil
}

// All implements Store.
func (f *File) All(_ context.Context, bucket string) (map[string][]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := os.Stat(f.path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	db, err := f.open(true)
	if err != nil {
		return nil, err
	}
	defer func() { _ = db.Close() }() // nothing was written
	all := map[string][]byte{}
	err = db.View(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte(bucket))
		if b == nil {
			return nil
		}
		return b.ForEach(func(name, value []byte) error {
			all[string(name)] = bytes.Clone(value)
			return nil
		})
	})
	return all, err
}

// Update implements Store.
func (f *File) Update(_ context.Context, bucket, name string, change func([]byte) ([]byte, error)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	db, err := f.open(false)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte(bucket))
		if err != nil {
			return err
		}
		next, err := change(bytes.Clone(b.Get([]byte(name))))
		switch {
		case err != nil:
			return err
		case next == nil:
			return b.Delete([]byte(name))
		}
		return b.Put([]byte(name), next)
	})
	return errors.Join(err, db.Close())
}

func (f *File) open(readOnly bool) (*bolt.DB, error) {
	db, err := bolt.Open(f.path, 0o600, &bolt.Options{Timeout: lockTimeout, ReadOnly: readOnly})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path, err)
	}
	return db, nil
}

// Close implements Store. The file is open only while it is used.
func (f *File) Close() error { return nil }

package schema

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// plainError is err's text without the prefixes that libraries add; about, if
// any, is a file name that the reader knows already.
func plainError(err error, about string) string {
	var path *fs.PathError
	if about != "" && errors.As(err, &path) && path.Path == about {
		err = path.Err
	}
	// protobuf-go separates its prefix with a space or, at random, a non-breaking one.
	text := strings.ReplaceAll(err.Error(), "\u00a0", " ")
	return strings.TrimPrefix(text, "proto: ")
}

// recoverAs turns a panic of a library, over a hostile descriptor, into *err.
func recoverAs(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("malformed descriptor: %v", p)
	}
}

// Package validate checks requests against the buf.validate rules that their
// protos declare, before upstream sees them: every message of a stream, too.
//
// It runs late in the chain, since it is the first to decode a message: who is
// calling, and how often, was settled before. It must not have rules of its
// own; a message type without rules is never looked at.
package validate

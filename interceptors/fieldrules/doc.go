// Package fieldrules guards single fields: the option (transom.policy.v1.field)
// names the scopes that may read a field, and those that may set it. Responses
// lose the fields that the caller may not read; requests that set a field that
// the caller may not are refused, and so are update masks that name one.
//
// It runs last, on messages that are going out or coming in for good. It works
// on wire bytes: fields that it does not know stay as they are, and a message
// without guarded fields is not looked at. It must not find out who is calling.
package fieldrules

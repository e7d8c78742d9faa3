// Package builtin knows the .proto files that come with the gateway: the
// google, buf/validate and openapiv2 options that API definitions import, and
// the policy options of the house. Their descriptors are linked from pinned
// modules, so no copy of them lives in the repository.
//
// On the way of a request it is nowhere; schema asks it while loading, for
// imports that a source does not bring itself. Export writes the same files as
// .proto text for compilers and editors. It must not read anything of a user.
package builtin

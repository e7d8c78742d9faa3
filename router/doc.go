// Package router says which binding an HTTP request means. On the way of a
// request it stands between edge and the REST door: an HTTP method and an
// escaped path come in, a binding and the raw values of its variables go out.
//
// It is a table, built once from the bindings of a snapshot and immutable from
// then on. It reads no headers, hosts, queries or bodies, decodes no values and
// decides no policy. All that is wrong with a path is found here, once: a path
// that matched is well-formed UTF-8 without NUL, empty or dot segments.
//
// # Which binding is meant
//
// The escaped path is cut at "/" first. From the first segment to the last, a
// literal is preferred to "*", and "*" to "**"; where the preferred way leads
// to no binding of the HTTP method, the next one is tried. Under "**" the
// longest literal tail is preferred. Where that choice ends, a verb (the text
// after the last ":" of the last segment) is taken if a binding there has it,
// for whatever HTTP method; else the segment is whole. An exact HTTP method is
// preferred to GET answering for HEAD, and that to "*". The order of
// declaration never decides.
//
// # What a match costs
//
// Every binding is a path through a trie of segments, and a node of the trie
// is visited at most once per segment range: by its depth for the part before
// "**", which takes exactly one segment a node, and by its tail for the part
// after, which is a single walk from the end. So a path of n segments costs at
// most the nodes of the trie that fit it, never more than the trie has, no
// matter how it is made; there is nothing exponential in n to be had.
package router

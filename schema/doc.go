// Package schema knows which services and methods exist. It reads descriptors
// from any mix of images, folders of .proto files and servers that offer
// reflection, links them, applies HTTP rules, and gives one immutable Snapshot:
// descriptors, types, methods and their HTTP bindings.
//
// On the way of a request it is nowhere: it works before the first call and
// whenever the schema changes, and what a call sees is a finished Snapshot. It
// must not match paths, decide conflicts between templates (router does), or
// know where a method is served.
//
// A mistake is a Problem with its place, "shop.proto:41:5". A load reports all
// of them at once and gives nothing; with Options.SkipInvalid it leaves out
// what is wrong, says so in the snapshot's warnings, and gives the rest.
package schema

// Package jsonscan checks JSON text against RFC 8259 without building
// anything, and says where in a text a byte offset lies.
//
// Both codecs stand on it: the reflect codec checks a text here before
// protojson sees it, because protojson is laxer than we are; both locate their
// errors here, which costs nothing until there is one. It knows nothing of
// protobuf.
package jsonscan

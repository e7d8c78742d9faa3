// Package testpb holds the messages of the codecs' tests and benchmarks. No
// product code imports it; generate.sh makes it from the protos beside it.
package testpb

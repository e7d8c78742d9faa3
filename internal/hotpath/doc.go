// Package hotpath guards what a call costs: it runs calls through router, REST
// door, codec, chain and relay, with no network in between, and compares the
// number of allocations with the committed one (testdata/allocs.txt), exactly.
// Time is noise on a shared machine; an allocation more is not.
package hotpath

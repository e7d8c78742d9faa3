// Package direct is the JSON codec of the hot path: JSON text to protobuf wire
// bytes and back in one pass each, from tables made once for each message
// type, with no message objects between and no reflection on the way.
//
// Its place is inside the doors that speak JSON, behind the seam of
// transcoder/codec. It knows nothing of HTTP, calls or streams, and must agree
// with the reflect codec (protojson) about what is accepted and what it means:
// where a rare form is met, it takes a slow and plainly right way instead of
// guessing.
//
// The parts, by file:
//
//	codec     the seam: plans, options, limits
//	table     what is known of a message type; build makes it from a descriptor
//	names     member names to fields, with a guess of the next name
//	read_*    JSON to wire: one recursive descent; gap holds lengths not yet known
//	write_*   wire to JSON: stream emits fields as they come; index is the way
//	          for wire bytes that are out of order, split, merged or repeated
package direct

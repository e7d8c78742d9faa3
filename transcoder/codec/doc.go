// Package codec is the seam between JSON text and protobuf wire bytes: two
// functions, one each way, for one message type or one field of it.
//
// Its place on the way of a request is inside the doors that speak JSON. It
// knows nothing of HTTP, of calls or of streams. There are two codecs: direct
// (tables, one pass, no message objects) and reflect (protojson on dynamicpb),
// which is the direct one's oracle and its stand-in when in doubt.
package codec

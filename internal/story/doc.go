// Package story runs scenarios that are files: one txtar archive tells what a
// client sends, what the backend sees and answers, and what the client gets.
// The same stories run through one door alone and through the whole gateway,
// over HTTP/1.1 and HTTP/2, in front of a real gRPC server.
//
// It is for tests only and knows no room of the house.
//
// An archive holds, in order:
//
//	the comment       what the story shows
//	NAME.proto        the schema; without one, base.proto beside the story
//	setup             lines "profile: NAME" and "rest: JSON", a transom.policy.v1.Rest
//	request           a request line, header lines, an empty line, the body
//	answer            what the backend answers: see below; without, an empty message
//	seen              what it must have seen: the method, metadata lines, an empty
//	                  line, the message as JSON; or "nothing"
//	response          the status, header lines, an empty line, the body
//
// The last four repeat for each exchange of the story. A body may start with a
// line of directives: "@gzip", "@zstd", "@base64" (the lines are base64),
// "@repeat N" (the text, N times), "@chunked" (no Content-Length). An answer
// starts with lines "status: CODE text", "details: [JSON of Any, ...]",
// "header: key value", "trailer: key value". Of a response's header only the
// lines that are there are compared; "!Name" says that a field is absent, and
// "trailer Name: value" means the trailer. JSON is compared by structure.
//
// Run tests with -update to rewrite seen and response from what happened.
package story

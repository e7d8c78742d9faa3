// Package story runs scenarios that are files: one txtar archive tells what a
// client sends, what the backend sees and answers, and what the client gets.
// Each runs through a whole gateway, over HTTP/1.1 and HTTP/2, in front of a
// real gRPC server.
//
// It is for tests only; which gateway is the test's choice.
//
// An archive holds, in order:
//
//	the comment       what the story shows
//	NAME.proto        the schema; without one, base.proto beside the story
//	setup             lines "profile: NAME", "rest: JSON" (a transom.policy.v1.Rest of
//	                  every method), "config: JSON" (more of the configuration file)
//	request           a request line, header lines, an empty line, the body
//	answer            what the backend answers: see below; without, an empty message
//	seen              what it must have seen: the method, metadata lines, an empty
//	                  line, the message as JSON; or "nothing"
//	response          the status, header lines, an empty line, the body
//
// The last four repeat for each exchange of the story. Where only the request
// and what came of it matter, a table tells many exchanges in a line each:
//
//	table             lines "METHOD TARGET BODY -> RESULT", where the result is the
//	                  call that the backend saw, "Method {message as JSON}", or the
//	                  refusal, "STATUS [fields] text"; "+ Name: value" adds a header
//	                  line to the requests that follow, "#" starts a remark
//
// A body may start with a
// line of directives: "@gzip", "@zstd", "@base64" (the lines are base64),
// "@repeat N" (the text, N times), "@chunked" (no Content-Length). An answer
// starts with lines "status: CODE text", "details: [JSON of Any, ...]",
// "header: key value", "trailer: key value". Of a response's header only the
// lines that are there are compared; "!Name" says that a field is absent, and
// "trailer Name: value" means the trailer. JSON is compared by structure.
//
// Run tests with -update to rewrite seen and response from what happened.
package story

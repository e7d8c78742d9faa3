// Package cors speaks the CORS protocol of the Fetch standard
// (https://fetch.spec.whatwg.org/#http-cors-protocol): it tells browsers which
// web pages of other origins may call a method, and read the answer.
//
// It stands at the edge, before the door: a preflight is a request of the
// browser's own, not a call. It must not refuse calls: who may call is
// authorization's to say, and programs that are no browsers send any Origin.
package cors

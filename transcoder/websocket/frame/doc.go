// Package frame is the framing of WebSocket (RFC 6455, section 5, and RFC 7692
// without context takeover), the server's side: pure functions and one reader.
//
// It is our own because the door needs what the libraries leave out: UTF-8
// checked in text and in close reasons as it arrives, the close code that each
// violation deserves with a text that was written for clients, frames that are
// appended to a buffer so that many leave in one write, nothing held while a
// socket is idle, and any byte stream below, an HTTP/2 one included.
//
// It must not know calls, and does not write.
package frame

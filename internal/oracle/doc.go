// Package oracle compares the gateway with grpc-gateway on the same requests:
// the handlers that protoc-gen-grpc-gateway writes for the example shop (gen/)
// are the oracle of the REST door's grpc-gateway profile.
//
// A corpus of requests is made from the services' descriptors with a fixed
// seed: valid ones, and mutations of their path, query, body and headers. Each
// goes to both, with one upstream behind them that records what reaches it and
// answers as the case says. Both must call upstream with the same message, and
// answer with the same status, JSON and mapped header fields; what differs on
// purpose is listed in differences.go, with its reason.
//
// It is a test room: nothing of the product imports it.
package oracle

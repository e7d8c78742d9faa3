package layering

// A rule says what of the house a package may import besides its own children.
// The first rule whose pattern fits a package holds. Patterns are paths below
// the module; "*" stands for one part, "/..." for the package with all below.
type rule struct {
	pattern string
	may     []string
	reason  string
}

// rules stand from the particular to the general. Each must fit a package.
var rules = []rule{
	{"rpc", nil,
		"the shared words are imported by all, so they import nobody"},
	{"gen/...", []string{"gen/..."},
		"generated code knows generated code"},
	{"proto", nil,
		"it only carries the text of the policy options"},

	// On the way of a request.
	{"edge/...", []string{"rpc"},
		"the method is not known there yet: nothing to decide with"},
	{"router/httprule", nil,
		"a pure grammar, which schema and router may both read by"},
	{"router/...", []string{"rpc", "router/httprule"},
		"which method is meant follows from bindings alone"},
	{"transcoder/codec/...", []string{"rpc", "gen/transom/policy/v1", "transcoder/codec/..."},
		"JSON and wire bytes are the same behind every door"},
	{"transcoder/envelope", []string{"rpc"},
		"five bytes and a compression, shared by the doors that frame messages"},
	{"transcoder/serverstream/...", []string{"rpc", "transcoder/envelope"},
		"the part of a grpc.ServerStream that all doors share"},
	{"transcoder/websocket/...", []string{"rpc", "gen/transom/websocket/v1", "transcoder/websocket/..."},
		"it speaks an envelope of our own, and gateway lends it the rest"},
	{"transcoder/*/...", []string{"rpc", "gen/transom/policy/v1", "transcoder/codec/...", "transcoder/envelope", "transcoder/serverstream"},
		"doors do not know each other: how a call looks on one wire says nothing about another"},
	{"interceptors", []string{"rpc"},
		"it links interceptors without knowing any"},
	{"interceptors/policy", []string{"rpc", "gen/transom/policy/v1"},
		"it merges policies without knowing who honours them"},
	{"interceptors/*/...", []string{"rpc", "gen/transom/policy/v1"},
		"interceptors do not know each other, and work in any gRPC server; only gateway knows their order"},
	{"upstream/...", []string{"rpc", "gen/transom/policy/v1"},
		"a backend is reached the same way whichever door was used"},

	// Beside it.
	{"schema/...", []string{"rpc", "router/httprule", "gen/transom/policy/v1", "proto", "schema/..."},
		"what exists is known before anyone asks for it"},
	{"admin/...", []string{"rpc", "gen/transom/admin/v1"},
		"it shows what gateway hands it, and knows no room"},
	{"config/...", []string{"rpc", "gen/transom/config/v1", "gen/transom/policy/v1"},
		"what an operator wrote is checked before any room sees a part of it"},
	{"gateway/...", []string{"admin/...", "config/...", "edge/...", "gen/transom/...", "interceptors/...", "router/...", "rpc",
		"schema/...", "transcoder/...", "upstream/..."},
		"the assembly: the only room that knows all others"},
	{"cmd/transom", []string{"config/...", "gateway/...", "gen/transom/...", "interceptors/authn/...", "interceptors/policy", "router/...", "rpc", "schema/..."},
		"the binary parses flags and prints; the assembly is gateway's"},

	// Around it.
	{"internal/oracle/gen/...", []string{"gen/shop/...", "internal/oracle/..."},
		"grpc-gateway's handlers are what tests compare with, never part of the product"},
	{"internal/layering", nil,
		"a judge has no friends"},
	{"internal/tools/...", []string{"config/...", "gen/...", "schema/builtin"},
		"small tools read descriptors, they do not serve"},
	{"internal/verdicts", []string{"config/...", "gateway", "interceptors/authn/...", "schema"},
		"it asks the assembled gateway from outside, as clients do, and makes their credentials"},
	{"internal/...", []string{"..."},
		"test rooms put the whole house together"},
	{"examples/...", []string{"gateway/...", "gen/...", "interceptors/...", "rpc", "examples/...", "config/..."},
		"examples use what any program may use"},
}

// banned names say nothing about what lives there.
var banned = []string{"util", "utils", "common", "helper", "helpers", "misc", "shared", "mock", "mocks"}

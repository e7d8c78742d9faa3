package schema

import (
	"strings"
	"testing"
)

const before = `
-- a.proto --
syntax = "proto3";
package a;
import "google/api/annotations.proto";
service S {
  rpc Get(R) returns (Res) { option (google.api.http) = {get: "/v1/{id}" additional_bindings {post: "/v1/get" body: "sub"}}; }
  rpc Watch(R) returns (stream Res);
}
service T { rpc M(R) returns (Res); rpc N(R) returns (Res); }
message R { string id = 1; Sub sub = 2; int32 n = 3; repeated string tags = 4; map<string, Sub> m = 5; oneof k { string x = 6; int32 y = 7; } Mode mode = 8; R again = 9; }
message Res { string id = 1; }
message Sub { string id = 1; string foo_bar = 2; }
enum Mode { MODE_UNSPECIFIED = 0; MODE_ON = 1; MODE_OFF = 2; }
`

func TestBreaking(t *testing.T) {
	for _, test := range []struct{ old, now, want string }{
		{"", "", ""},
		{"// comment", "", ""},
		{"R again = 9;", "R again = 9; string more = 10;", ""},
		{"rpc N(R) returns (Res); ", "rpc N(R) returns (Res); rpc O(R) returns (Res);", ""},
		{"{id}", "{id=*}", ""},
		{"service T { rpc M(R) returns (Res); rpc N(R) returns (Res); }", "", "service removed: service a.T is no longer served"},
		{"rpc N(R) returns (Res);", "", "method removed: method a.T.N is no longer served"},
		{"returns (stream Res)", "returns (Res)", "method changed: method a.S.Watch changed from server streaming to unary"},
		{"rpc Watch(R)", "rpc Watch(stream R)", "method changed: method a.S.Watch changed from server streaming to bidirectional streaming"},
		{"rpc M(R) returns (Res)", "rpc M(R) returns (Sub)", "method changed: method a.T.M changed its response from a.Res to a.Sub"},
		{`get: "/v1/{id}"`, `get: "/v2/{id}"`, "binding changed: method a.S.Get moved from GET /v1/{id} to GET /v2/{id}"},
		{`get: "/v1/{id}"`, `get: "/v1/{x}"`, "binding changed: method a.S.Get at GET /v1/{id} binds other fields: /v1/{x}"},
		{`get: "/v1/{id}"`, `put: "/v1/{id}"`, "binding removed: method a.S.Get is no longer at GET /v1/{id}"},
		{` additional_bindings {post: "/v1/get" body: "sub"}`, "", "binding removed: method a.S.Get is no longer at POST /v1/get"},
		{`body: "sub"`, `body: "*"`, `binding changed: method a.S.Get at POST /v1/get changed its body from "sub" to "*"`},
		{`body: "sub"`, `body: "sub" response_body: "id"`, `binding changed: method a.S.Get at POST /v1/get changed its response_body from "" to "id"`},
		{`rpc M(R) returns (Res);`, `rpc M(R) returns (Res) { option (google.api.http).get = "/m"; }`, "binding removed: method a.T.M is no longer at POST /a.T/M"},
		{"int32 n = 3;", "", "field removed: field a.R.n (3) is gone"},
		{"int32 n = 3;", "int64 n = 3;", "field changed: field a.R.n changed its type from int32 to int64"},
		{"int32 n = 3;", "repeated int32 n = 3;", "field changed: field a.R.n changed from single to repeated"},
		{"int32 n = 3;", "int32 num = 3;", "field changed: field a.R.n (3) changed its name to num\nfield changed: field a.R.n changed its JSON name from \"n\" to \"num\""},
		{"string foo_bar = 2;", `string foo_bar = 2 [json_name = "x"];`, `field changed: field a.Sub.foo_bar changed its JSON name from "fooBar" to "x"`},
		{"map<string, Sub> m = 5;", "map<int32, Sub> m = 5;", "field changed: field a.R.m changed its type from map<string, a.Sub> to map<int32, a.Sub>"},
		{"oneof k { string x = 6; int32 y = 7; }", "oneof k { int32 y = 7; } string x = 6;", "field changed: field a.R.x moved from oneof k to no oneof"},
		{"MODE_OFF = 2;", "", "enum value removed: enum value MODE_OFF (2) of a.Mode is gone"},
		{"MODE_OFF = 2;", "MODE_OUT = 2;", "enum value renamed: enum value MODE_OFF (2) of a.Mode is now MODE_OUT"},
	} {
		old := load(t, Options{Sources: []string{folder(t, before)}})
		now := load(t, Options{Sources: []string{folder(t, strings.Replace(before, test.old, test.now, 1))}})
		var got []string
		for _, c := range Breaking(old, now) {
			if !strings.Contains(c.String(), c.Subject) && c.Kind != EnumValueRemoved && c.Kind != EnumValueRenamed {
				t.Errorf("%q does not name its subject %q", c.Text, c.Subject)
			}
			got = append(got, string(c.Kind)+": "+c.String())
		}
		same(t, strings.Join(got, "\n"), test.want)
	}
}

func TestBreakingRequired(t *testing.T) {
	proto2 := func(fields string) *Snapshot {
		return load(t, Options{Sources: []string{folder(t, "-- a.proto --\nsyntax = \"proto2\"; package a; service S { rpc M(R) returns (R); } message R { "+fields+" }")}})
	}
	changes := Breaking(proto2("optional int32 a = 1;"), proto2("required int32 a = 1; required int32 b = 2;"))
	if len(changes) != 2 || changes[0].Text != "field a.R.a changed from single to required" || changes[1].Text != "field a.R.b is new and required" {
		t.Errorf("%v", changes)
	}
}

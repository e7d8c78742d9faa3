package schema

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// bad is a file whose methods each have one mistake; %s is the rule of M.
const bad = `
-- a.proto --
syntax = "proto3";
package a;
import "google/api/annotations.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/wrappers.proto";
service S {
  rpc M(R) returns (R) {
    option (google.api.http) = {
%s
    };
  }
}
message R {
  string name = 1;
  repeated string tags = 2;
  map<string, string> labels = 3;
  Sub sub = 4;
  repeated Sub subs = 5;
  google.protobuf.Struct struct = 6;
  google.protobuf.StringValue wrapped = 7;
  string long_name = 8;
  Empty empty = 9;
}
message Sub { string id = 1; Sub sub = 2; repeated int32 ns = 3; }
message Empty {}
`

func TestBadBindings(t *testing.T) {
	for _, test := range []struct{ rule, want string }{
		{`get: "v1/x"`, `a.S.M: path template "v1/x", byte 0: the template must start with "/"`},
		{`get: ""`, `a.S.M: path template "", byte 0: the template is empty: it must start with "/"`},
		{`get: "/v1/{name"`, `a.S.M: path template "/v1/{name", byte 4: the variable is not closed: add "}"`},
		{`get: "/v1/{name={id}}"`, `a.S.M: path template "/v1/{name={id}}", byte 10: a variable may not contain another variable`},
		{`get: "/v1/{name}/{name}"`, `a.S.M: path template "/v1/{name}/{name}", byte 12: "name" is bound twice: a field may be a variable once`},
		{`get: "/v1/{name=**}/{sub.id}"`, `a.S.M: path template "/v1/{name=**}/{sub.id}", byte 21: only literals may follow the "**" at byte 10`},
		{`get: "/v1/{tags}"`, `a.S.M: path template "/v1/{tags}", variable "tags": field "tags" of a.R is repeated; a path variable is a single value`},
		{`get: "/v1/{subs}"`, `a.S.M: path template "/v1/{subs}", variable "subs": field "subs" of a.R is repeated; a path variable is a single value`},
		{`get: "/v1/{subs.id}"`, `a.S.M: path template "/v1/{subs.id}", variable "subs.id": field "subs" of a.R is repeated and has no fields to name`},
		{`get: "/v1/{labels}"`, `a.S.M: path template "/v1/{labels}", variable "labels": field "labels" of a.R is a map; a path variable is a single value`},
		{`get: "/v1/{labels.key}"`, `a.S.M: path template "/v1/{labels.key}", variable "labels.key": field "labels" of a.R is a map and has no fields to name`},
		{`get: "/v1/{sub}"`, `a.S.M: path template "/v1/{sub}", variable "sub": field "sub" of a.R is a message, a.Sub; name one of its fields, "sub.id"`},
		{`get: "/v1/{sub.sub}"`, `a.S.M: path template "/v1/{sub.sub}", variable "sub.sub": field "sub" of a.Sub is a message, a.Sub; name one of its fields, "sub.id"`},
		{`get: "/v1/{empty}"`, `a.S.M: path template "/v1/{empty}", variable "empty": field "empty" of a.R is a message, a.Empty; name one of its fields, "empty...."`},
		{`get: "/v1/{struct}"`, `a.S.M: path template "/v1/{struct}", variable "struct": field "struct" of a.R is a message, google.protobuf.Struct; name one of its fields, "struct.fields"`},
		{`get: "/v1/{name.x}"`, `a.S.M: path template "/v1/{name.x}", variable "name.x": field "name" of a.R is a string and has no fields to name`},
		{`get: "/v1/{nam}"`, `a.S.M: path template "/v1/{nam}", variable "nam": a.R has no field "nam"; did you mean "name"?`},
		{`get: "/v1/{longName}"`, `a.S.M: path template "/v1/{longName}", variable "longName": a.R has no field "longName"; write the proto name "long_name"`},
		{`get: "/v1/{sub.quantity}"`, `a.S.M: path template "/v1/{sub.quantity}", variable "sub.quantity": a.Sub has no field "quantity"`},
		{`post: "/v1" body: "sub.id"`, `a.S.M: body "sub.id" names a nested field: name a field of a.R itself`},
		{`post: "/v1" body: "subb"`, `a.S.M: body "subb": a.R has no field "subb"; did you mean "sub"?`},
		{`post: "/v1" response_body: "sub.id"`, `a.S.M: response_body "sub.id" names a nested field: name a field of a.R itself`},
		{`post: "/v1" response_body: "quantity"`, `a.S.M: response_body "quantity": a.R has no field "quantity"`},
		{`post: "/v1" response_body: "*"`, `a.S.M: response_body "*": leave it out to answer with the whole message, or name a field of a.R`},
		{`custom {kind: "" path: "/v1"}`, `a.S.M: custom kind "" is no HTTP method: write a name such as HEAD, or * for any`},
		{`custom {kind: "A B" path: "/v1"}`, `a.S.M: custom kind "A B" is no HTTP method: write a name such as HEAD, or * for any`},
	} {
		dir := folder(t, fmt.Sprintf(bad, test.rule))
		same(t, loadError(t, Options{Sources: []string{dir}}), "a.proto:8:5: "+test.want)
	}
}

// TestEveryMistakeAtOnce has mistakes in several places of several files.
func TestEveryMistakeAtOnce(t *testing.T) {
	dir := folder(t, fmt.Sprintf(bad, `get: "/v1/{tags}" body: "x"
      additional_bindings { get: "/v1/{labels}" additional_bindings { get: "/v1" } }
      additional_bindings { post: "/ok" }`)+`
-- broken.proto --
syntax = "proto3";
package broken;
message A { string x = 1 }
message B { string y = 2;
-- lost.proto --
syntax = "proto3";
import "no/such.proto";
import "broken.proto";
-- depends.proto --
syntax = "proto3";
import "broken.proto";
-- types.proto --
syntax = "proto3";
package types;
message A { Missing a = 1; Missing b = 2; }
-- tags.proto --
syntax = "proto3";
message A { string a = 1; string c = 1; }
`)
	opts := Options{Sources: []string{dir}, Rules: []string{filepath.Join(dir, "rules.yaml"), filepath.Join(dir, "none.yaml")}}
	write(t, opts.Rules[0], "http:\n  rules:\n  - selector: a.S.M\n    gett: /v1\n")
	got := strings.ReplaceAll(loadError(t, opts), dir, "DIR")
	same(t, got, `
DIR/none.yaml: no such file or directory
DIR/rules.yaml:4:5: unknown field "gett": a rule has selector, get, put, post, delete, patch, custom, body, response_body and additional_bindings
a.proto:8:5: a.S.M: path template "/v1/{tags}", variable "tags": field "tags" of a.R is repeated; a path variable is a single value
a.proto:8:5: a.S.M: body "x": a.R has no field "x"
a.proto:10:7: a.S.M: additional_bindings inside additional_bindings: list them side by side
a.proto:10:7: a.S.M: path template "/v1/{labels}", variable "labels": field "labels" of a.R is a map; a path variable is a single value
broken.proto:3:26: syntax error: expecting ';'
broken.proto:5:1: syntax error: unexpected end of file
lost.proto:2:8: import "no/such.proto": no such file in DIR, and not one of the built-in imports
tags.proto:2:38: message A: fields a and c both have the same tag 1
types.proto:3:13: field types.A.a: unknown type Missing
types.proto:3:28: field types.A.b: unknown type Missing`)

	opts.SkipInvalid, opts.Rules = true, nil
	s := load(t, opts)
	same(t, routes(s), "POST /ok a.S.M")
	if len(s.Warnings) != 11 {
		t.Errorf("%d warnings:\n%v", len(s.Warnings), Problems(s.Warnings))
	}
	if !slices.Contains(s.Warnings, Problem{"depends.proto", "left out: it imports a file that is left out"}) {
		t.Errorf("the file that imports a broken one is not named:\n%v", Problems(s.Warnings))
	}
	same(t, s.Warnings[0].String(), `a.proto:8:5: left out: a.S.M: path template "/v1/{tags}", variable "tags": field "tags" of a.R is repeated; a path variable is a single value`)
}

func TestLenientOptions(t *testing.T) {
	nested := Options{Sources: []string{folder(t, fmt.Sprintf(bad, `post: "/v1" body: "sub.sub.id" response_body: "sub.ns"`))}, NestedBody: true}
	same(t, routes(load(t, nested)), "POST /v1 sub.sub.id>sub.ns a.S.M")
	nested.Sources[0] = folder(t, fmt.Sprintf(bad, `post: "/v1" body: "subs.id" response_body: "sub.no"`))
	same(t, loadError(t, nested), `a.proto:8:5: a.S.M: body "subs.id": field "subs" of a.R is repeated and has no fields to name
a.proto:8:5: a.S.M: response_body "sub.no": a.Sub has no field "no"; did you mean "ns"?`)

	repeated := Options{Sources: []string{folder(t, fmt.Sprintf(bad, `get: "/v1/{tags}/{sub.ns}"`))}, RepeatedPathVariables: true}
	same(t, routes(load(t, repeated)), "GET /v1/{tags}/{sub.ns} a.S.M")
	repeated.Sources[0] = folder(t, fmt.Sprintf(bad, `get: "/v1/{subs}"`))
	same(t, loadError(t, repeated), `a.proto:8:5: a.S.M: path template "/v1/{subs}", variable "subs": field "subs" of a.R is repeated; a path variable is a single value`)

	dir := folder(t, fmt.Sprintf(bad, `selector: "b.S.M"`))
	s := load(t, Options{Sources: []string{dir}})
	same(t, routes(s), "POST /a.S/M *> a.S.M")
	same(t, Problems(s.Warnings).Error(), `a.proto:8:5: a.S.M: the option's selector "b.S.M" is ignored: an option is for its own method
a.proto:8:5: a.S.M: the google.api.http option names no HTTP method, so it binds nothing`)
	same(t, routes(load(t, Options{Sources: []string{dir}, NoImplicit: true})), "")

	wrapped := Options{Sources: []string{folder(t, fmt.Sprintf(bad, `custom {kind: "report" path: "/v1/{wrapped}"}`))}}
	same(t, routes(load(t, wrapped)), "REPORT /v1/{wrapped} a.S.M")
}

func TestBadSources(t *testing.T) {
	dir := folder(t, "-- empty/readme.md --\n-- junk.binpb --\njunk\n-- junk.json --\n{\"file\": 1}\n-- empty.pb --\n-- junk.gz --\n")
	write(t, filepath.Join(dir, "junk.gz"), "\x1f\x8b junk")
	for source, want := range map[string]string{
		"none.binpb": "DIR/none.binpb: no such file or directory",
		"empty":      "DIR/empty: no .proto files in this folder",
		"empty.pb":   "DIR/empty.pb: the image holds no files",
		"junk.binpb": "DIR/junk.binpb: not an image: the bytes are no FileDescriptorSet",
		"junk.gz":    "DIR/junk.gz: unexpected EOF",
		"none.proto": "DIR/none.proto: no such file or directory",
	} {
		got := loadError(t, Options{Sources: []string{filepath.Join(dir, source)}, SkipInvalid: true})
		same(t, strings.ReplaceAll(got, dir, "DIR"), want)
	}
	if got := loadError(t, Options{Sources: []string{filepath.Join(dir, "junk.json")}}); !strings.Contains(got, "not an image in JSON: ") {
		t.Error(got)
	}
	same(t, loadError(t, Options{}), "schema: no source: name an image, a folder of .proto files, or a server (grpc://host:port)")
}

// TestHostileDescriptors loads what no compiler writes.
func TestHostileDescriptors(t *testing.T) {
	str := proto.String
	file := func(name string, f func(*descriptorpb.FileDescriptorProto)) *descriptorpb.FileDescriptorProto {
		fd := &descriptorpb.FileDescriptorProto{Name: str(name), Syntax: str("proto3"), Package: str("p")}
		f(fd)
		return fd
	}
	good := file("good.proto", func(fd *descriptorpb.FileDescriptorProto) {
		fd.Package = str("good")
		fd.MessageType = []*descriptorpb.DescriptorProto{{Name: str("R")}}
		fd.Service = []*descriptorpb.ServiceDescriptorProto{{Name: str("S"), Method: []*descriptorpb.MethodDescriptorProto{
			{Name: str("M"), InputType: str(".good.R"), OutputType: str(".good.R")},
		}}}
		fd.SourceCodeInfo = &descriptorpb.SourceCodeInfo{Location: []*descriptorpb.SourceCodeInfo_Location{
			{Path: []int32{6, 0, 2, 0}, Span: []int32{1}}, {Path: []int32{6, -1, 2, 1 << 30}, Span: []int32{1, 2, 3}}, {Span: []int32{-5, 0, 0}},
		}}
	})
	for name, bad := range map[string]struct {
		files []*descriptorpb.FileDescriptorProto
		want  string
	}{
		"message set": {[]*descriptorpb.FileDescriptorProto{file("x.proto", func(fd *descriptorpb.FileDescriptorProto) {
			fd.Syntax = nil
			fd.MessageType = []*descriptorpb.DescriptorProto{{
				Name: str("Set"), Options: &descriptorpb.MessageOptions{MessageSetWireFormat: proto.Bool(true)},
				ExtensionRange: []*descriptorpb.DescriptorProto_ExtensionRange{{Start: proto.Int32(4), End: proto.Int32(1 << 30)}},
			}}
		})}, `x.proto: message "p.Set" is a MessageSet, which is a legacy proto1 feature that is no longer supported`},
		"circle": {[]*descriptorpb.FileDescriptorProto{
			file("x.proto", func(fd *descriptorpb.FileDescriptorProto) { fd.Dependency = []string{"y.proto"} }),
			file("y.proto", func(fd *descriptorpb.FileDescriptorProto) { fd.Dependency = []string{"x.proto"} }),
		}, `x.proto: imports itself by way of ["x.proto" "y.proto" "x.proto"]`},
		"itself": {[]*descriptorpb.FileDescriptorProto{
			file("x.proto", func(fd *descriptorpb.FileDescriptorProto) { fd.Dependency = []string{"x.proto"} }),
		}, `x.proto: imports itself by way of ["x.proto" "x.proto"]`},
		"no type": {[]*descriptorpb.FileDescriptorProto{file("x.proto", func(fd *descriptorpb.FileDescriptorProto) {
			fd.MessageType = []*descriptorpb.DescriptorProto{{Name: str("M"), Field: []*descriptorpb.FieldDescriptorProto{{Name: str("f"), Number: proto.Int32(1)}}}}
		})}, `x.proto: message field "p.M.f" under proto3 optional semantics must be specified with "optional" cardinality`},
		"bad names": {[]*descriptorpb.FileDescriptorProto{file("x.proto", func(fd *descriptorpb.FileDescriptorProto) {
			fd.MessageType = []*descriptorpb.DescriptorProto{{Name: str("M.N")}}
		})}, `x.proto: descriptor "" has an invalid nested name: "M.N"`},
		"unknown edition": {[]*descriptorpb.FileDescriptorProto{file("x.proto", func(fd *descriptorpb.FileDescriptorProto) {
			fd.Syntax, fd.Edition = str("editions"), descriptorpb.Edition(5000).Enum()
		})}, `x.proto: use of edition 5000 not yet supported by the Go Protobuf runtime`},
	} {
		t.Run(name, func(t *testing.T) {
			image := filepath.Join(t.TempDir(), "x.binpb")
			write(t, image, string(marshal(t, &descriptorpb.FileDescriptorSet{File: append(bad.files, good)})))
			if got := loadError(t, Options{Sources: []string{image}}); !strings.HasPrefix(got, bad.want) && name != "no type" && name != "bad names" {
				t.Errorf("got:\n%s\nwant:\n%s", got, bad.want)
			} else if !strings.HasPrefix(got, "x.proto: ") {
				t.Errorf("%s: the file is not named", got)
			}
			s := load(t, Options{Sources: []string{image}, SkipInvalid: true})
			same(t, routes(s), "POST /good.S/M *> good.S.M")
		})
	}
}

func FuzzImage(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\n\x05\n\x03a.p"))
	f.Add([]byte(`{"file": [{"name": "a.proto", "options": {"[google.api.http]": {}}}]}`))
	for _, archive := range []string{shop, fmt.Sprintf(bad, `get: "/v1/{sub.id}"`)} {
		f.Add(marshal(f, without(image(f, folder(f, archive)), "google/", "transom/")))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		name := filepath.Join(dir, "x.binpb")
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Load(t.Context(), Options{Sources: []string{name}})
		skipped, skipErr := Load(t.Context(), Options{Sources: []string{name}, SkipInvalid: true})
		if err == nil && (skipErr != nil || skipped.ID != s.ID) {
			t.Errorf("with nothing to skip, SkipInvalid gives something else: %v", skipErr)
		}
		if skipErr == nil {
			for i, b := range skipped.Bindings {
				if b.ID != i || skipped.Method(b.Method.Name) != b.Method {
					t.Errorf("binding %d: ID %d of %s", i, b.ID, b.Method.Name)
				}
			}
		}
	})
}

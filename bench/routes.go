package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// counts are how many methods the schemas of the route loads have.
var counts = []int{10, 1000, 10000} //nolint:gochecknoglobals // a constant list

// routes measures one GET against schemas of different sizes, and their start.
func routes(o *options, f *fleet, r *report) error {
	b := o.binaries[0]
	for round := range o.rounds {
		for _, n := range counts {
			name := fmt.Sprintf("%d routes", n)
			l := &load{Name: "GET by routes", callers: httpLoad("GET", fmt.Sprintf("/v1/things%d/4711/parts/1", n/2), "application/json", nil, 64)}
			if !o.only.MatchString(l.Name + "/" + name) {
				continue
			}
			p := f.all[name]
			if p == nil {
				var err error
				if p, err = f.many(b, name, n); err != nil {
					return err
				}
				f.all[name] = p
				time.Sleep(time.Second) // what the start has left behind is collected
				memory, err := p.memory()
				if err != nil {
					return err
				}
				r.Starts = append(r.Starts, start{Routes: n, Seconds: p.ready.Seconds(), Memory: float64(memory) / 1e6})
			}
			if err := r.take(l, p, f.backend, o.d, round); err != nil {
				return err
			}
		}
	}
	return nil
}

// many starts a gateway for a schema of n methods.
func (f *fleet) many(b binary, name string, n int) (*process, error) {
	image, err := f.file("many.binpb", string(must(proto.Marshal(schema(n)))))
	if err != nil {
		return nil, err
	}
	return f.transom(b, name, func(addr, admin, backend string) string {
		return fmt.Sprintf(`
listeners: [{address: %q}]
admin: {address: %q}
schema: {sources: [%q]}
clusters: [{name: many, targets: [%q]}]
`, addr, admin, filepath.ToSlash(image), backend)
	})
}

// schema returns an image of services with n methods in all.
func schema(n int) *descriptorpb.FileDescriptorSet {
	file := &descriptorpb.FileDescriptorProto{
		Name: proto.String("many.proto"), Package: proto.String("many.v1"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{
			Name: proto.String("GetRequest"), Field: []*descriptorpb.FieldDescriptorProto{text("id", 1), text("part", 2)},
		}, {
			Name: proto.String("GetResponse"), Field: []*descriptorpb.FieldDescriptorProto{text("id", 1)},
		}},
	}
	for i := range n {
		if i%100 == 0 {
			file.Service = append(file.Service, &descriptorpb.ServiceDescriptorProto{Name: proto.String(fmt.Sprintf("Service%d", i/100))})
		}
		opts := &descriptorpb.MethodOptions{}
		proto.SetExtension(opts, annotations.E_Http, &annotations.HttpRule{
			Pattern: &annotations.HttpRule_Get{Get: fmt.Sprintf("/v1/things%d/{id}/parts/{part}", i)},
		})
		s := file.Service[len(file.Service)-1]
		s.Method = append(s.Method, &descriptorpb.MethodDescriptorProto{
			Name: proto.String(fmt.Sprintf("Get%d", i)), InputType: proto.String(".many.v1.GetRequest"),
			OutputType: proto.String(".many.v1.GetResponse"), Options: opts,
		})
	}
	return &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{file}}
}

func text(name string, number int32) *descriptorpb.FieldDescriptorProto {
	return &descriptorpb.FieldDescriptorProto{
		Name: proto.String(name), Number: proto.Int32(number), JsonName: proto.String(name),
		Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(), Type: descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(),
	}
}

// self is this process as a command that runs.
func self() *exec.Cmd {
	p, _ := os.FindProcess(os.Getpid()) // never fails on Unix
	return &exec.Cmd{Process: p}
}

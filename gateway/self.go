package gateway

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionalphapb "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/transomhq/transom/rpc"
	"github.com/transomhq/transom/schema"
	"github.com/transomhq/transom/upstream/local"
)

// self is what the gateway answers itself: grpc.health.v1 about the services
// it serves, and server reflection from its schema. Both are calls like any
// other, with a backend in this process.
type self struct {
	conn    *local.Conn
	methods []*rpc.Method
	health  *health.Server
}

// newSelf returns the gateway's own services for a schema.
func newSelf(snapshot *schema.Snapshot) *self {
	s := &self{conn: local.New(), health: health.NewServer()}
	services := serviceNames(snapshot.Methods)
	for name := range services {
		s.health.SetServingStatus(name, healthpb.HealthCheckResponse_SERVING)
	}
	own := []protoreflect.FileDescriptor{
		healthpb.File_grpc_health_v1_health_proto,
		reflectionpb.File_grpc_reflection_v1_reflection_proto,
		reflectionalphapb.File_grpc_reflection_v1alpha_reflection_proto,
	}
	for _, file := range own {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			services[string(file.Services().Get(i).FullName())] = grpc.ServiceInfo{}
			for j := range methods.Len() {
				s.methods = append(s.methods, rpc.NewMethod(methods.Get(j)))
			}
		}
	}
	opts := reflection.ServerOptions{Services: services, DescriptorResolver: files{snapshot.Files}, ExtensionResolver: snapshot.Types}
	healthpb.RegisterHealthServer(s.conn, s.health)
	reflectionpb.RegisterServerReflectionServer(s.conn, reflection.NewServerV1(opts))
	reflectionalphapb.RegisterServerReflectionServer(s.conn, reflection.NewServer(opts))
	return s
}

// serviceInfo lists services for reflection.
type serviceInfo map[string]grpc.ServiceInfo

func (s serviceInfo) GetServiceInfo() map[string]grpc.ServiceInfo { return s }

func serviceNames(methods []*rpc.Method) serviceInfo {
	names := serviceInfo{}
	for _, m := range methods {
		names[m.Service()] = grpc.ServiceInfo{}
	}
	return names
}

// files finds the schema's files first, then what is linked into the gateway,
// where its own services are described.
type files struct{ schema *protoregistry.Files }

var _ protodesc.Resolver = files{}

func (f files) FindFileByPath(path string) (protoreflect.FileDescriptor, error) {
	if fd, err := f.schema.FindFileByPath(path); err == nil {
		return fd, nil
	}
	return protoregistry.GlobalFiles.FindFileByPath(path)
}

func (f files) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	if d, err := f.schema.FindDescriptorByName(name); err == nil {
		return d, nil
	}
	return protoregistry.GlobalFiles.FindDescriptorByName(name)
}

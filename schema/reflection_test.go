package schema

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	v1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	v1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// server is a gRPC server that reflects a schema, which may change.
type server struct {
	*grpc.Server
	files atomic.Pointer[protoregistry.Files]
}

func (s *server) FindFileByPath(path string) (protoreflect.FileDescriptor, error) {
	return s.files.Load().FindFileByPath(path)
}

func (s *server) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	return s.files.Load().FindDescriptorByName(name)
}

func (s *server) GetServiceInfo() map[string]grpc.ServiceInfo {
	infos := map[string]grpc.ServiceInfo{"grpc.health.v1.Health": {}, "grpc.reflection.v1.ServerReflection": {}}
	s.files.Load().RangeFiles(func(fd protoreflect.FileDescriptor) bool {
		for i := range fd.Services().Len() {
			infos[string(fd.Services().Get(i).FullName())] = grpc.ServiceInfo{}
		}
		return true
	})
	return infos
}

func (s *server) set(t *testing.T, archive string) {
	t.Helper()
	set := image(t, folder(t, archive))
	for _, f := range set.File {
		f.SourceCodeInfo = nil // generated code has none
	}
	files, err := protodesc.NewFiles(set)
	if err != nil {
		t.Fatal(err)
	}
	s.files.Store(files)
}

// serve starts a server that reflects archive by the named versions of the protocol.
func serve(t *testing.T, archive, versions string, opts ...grpc.ServerOption) (*server, net.Addr) {
	t.Helper()
	s := &server{Server: grpc.NewServer(opts...)}
	s.set(t, archive)
	ro := reflection.ServerOptions{Services: s, DescriptorResolver: s}
	if strings.Contains(versions, "v1 ") {
		v1.RegisterServerReflectionServer(s.Server, reflection.NewServerV1(ro))
	}
	if strings.Contains(versions, "v1alpha ") {
		v1alpha.RegisterServerReflectionServer(s.Server, reflection.NewServer(ro))
	}
	healthpb.RegisterHealthServer(s.Server, health.NewServer())
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(lis) }()
	t.Cleanup(func() { s.Stop(); <-done })
	return s, lis.Addr()
}

func TestReflection(t *testing.T) {
	for _, versions := range []string{"v1 ", "v1alpha ", "v1 v1alpha "} {
		_, addr := serve(t, shop, versions)
		s := load(t, Options{Sources: []string{"grpc://" + addr.String()}})
		same(t, routes(s), shopRoutes)
		same(t, s.Bindings[0].Origin, "shop/v1/shop.proto: shop.v1.Orders.Get")
	}
	_, addr := serve(t, shop, "")
	same(t, loadError(t, Options{Sources: []string{"grpc://" + addr.String()}}),
		"grpc://"+addr.String()+": the server does not offer reflection")
}

func TestReflectionAndFolder(t *testing.T) {
	_, addr := serve(t, shop, "v1 ")
	s := load(t, Options{Sources: []string{"grpc://" + addr.String(), folder(t, shop)}})
	same(t, routes(s), shopRoutes)
	same(t, s.Bindings[0].Origin, "shop/v1/shop.proto:12:5")
}

func TestReflectionTLS(t *testing.T) {
	ts := httptest.NewUnstartedServer(nil)
	ts.StartTLS()
	cert := ts.TLS.Certificates[0]
	pool := x509.NewCertPool()
	pool.AddCert(ts.Certificate())
	ts.Close()
	_, addr := serve(t, shop, "v1 ", grpc.Creds(credentials.NewServerTLSFromCert(&cert)))
	source := "grpcs://" + addr.String()
	if got := loadError(t, Options{Sources: []string{source}}); !strings.Contains(got, "certificate signed by unknown authority") {
		t.Error(got)
	}
	opts := Options{Sources: []string{source}, DialOptions: func(s string) []grpc.DialOption {
		if s != source {
			t.Errorf("asked for options of %q", s)
		}
		return []grpc.DialOption{grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: pool}))}
	}}
	same(t, routes(load(t, opts)), shopRoutes)
}

func TestReflectionUnix(t *testing.T) {
	s, _ := serve(t, shop, "v1 ")
	path := filepath.Join(t.TempDir(), "s.sock")
	lis, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(lis) }()
	t.Cleanup(func() { s.Stop(); <-done })
	same(t, routes(load(t, Options{Sources: []string{"grpc:unix://" + path}})), shopRoutes)
}

// liar is a reflection server that answers as it likes.
type liar struct {
	v1.UnimplementedServerReflectionServer
	answer func(*v1.ServerReflectionRequest) *v1.ServerReflectionResponse
}

func (l liar) ServerReflectionInfo(stream v1.ServerReflection_ServerReflectionInfoServer) error {
	for {
		req, err := stream.Recv()
		if err != nil {
			return nil //nolint:nilerr // the client is done
		}
		if err := stream.Send(l.answer(req)); err != nil {
			return err
		}
	}
}

func TestReflectionOfStrangeServers(t *testing.T) {
	list := func(names ...string) *v1.ServerReflectionResponse {
		r := &v1.ListServiceResponse{}
		for _, n := range names {
			r.Service = append(r.Service, &v1.ServiceResponse{Name: n})
		}
		return &v1.ServerReflectionResponse{MessageResponse: &v1.ServerReflectionResponse_ListServicesResponse{ListServicesResponse: r}}
	}
	files := func(b ...[]byte) *v1.ServerReflectionResponse {
		return &v1.ServerReflectionResponse{MessageResponse: &v1.ServerReflectionResponse_FileDescriptorResponse{
			FileDescriptorResponse: &v1.FileDescriptorResponse{FileDescriptorProto: b},
		}}
	}
	refuse := &v1.ServerReflectionResponse{MessageResponse: &v1.ServerReflectionResponse_ErrorResponse{
		ErrorResponse: &v1.ErrorResponse{ErrorCode: 5, ErrorMessage: "who?"},
	}}
	good := marshal(t, image(t, folder(t, other)).File[0])
	for name, test := range map[string]struct {
		answer    func(*v1.ServerReflectionRequest) *v1.ServerReflectionResponse
		want, err string
	}{
		"a service without descriptor": {func(r *v1.ServerReflectionRequest) *v1.ServerReflectionResponse {
			switch {
			case r.GetListServices() != "":
				return list("other.S", "gone.S")
			case r.GetFileContainingSymbol() == "other.S":
				return files(good)
			}
			return refuse
		}, "SOURCE: left out: service gone.S: the server does not describe it (NotFound: who?)", ""},
		"junk": {func(r *v1.ServerReflectionRequest) *v1.ServerReflectionResponse {
			if r.GetListServices() != "" {
				return list("other.S")
			}
			return files([]byte("junk"))
		}, "", "SOURCE: service other.S: a file that cannot be read: "},
		"nothing": {func(*v1.ServerReflectionRequest) *v1.ServerReflectionResponse { return &v1.ServerReflectionResponse{} }, "", "SOURCE: the server has no services that it describes, beside health and reflection"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := grpc.NewServer()
			v1.RegisterServerReflectionServer(srv, liar{answer: test.answer})
			lis, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() { defer close(done); _ = srv.Serve(lis) }()
			defer func() { srv.Stop(); <-done }()
			source := "grpc://" + lis.Addr().String()
			if test.err != "" {
				if got := strings.ReplaceAll(loadError(t, Options{Sources: []string{source}}), source, "SOURCE"); !strings.HasPrefix(got, test.err) {
					t.Errorf("got %s\nwant %s", got, test.err)
				}
				return
			}
			s := load(t, Options{Sources: []string{source}})
			same(t, routes(s), "POST /other.S/M *> other.S.M")
			same(t, strings.ReplaceAll(Problems(s.Warnings).Error(), source, "SOURCE"), test.want)
		})
	}
}

const other = "-- other.proto --\nsyntax = \"proto3\"; package other; service S { rpc M(R) returns (R); } message R {}\n"

func TestReflectionUnreachable(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	source := "grpc://" + lis.Addr().String()
	lis.Close()
	if got := loadError(t, Options{Sources: []string{source}}); !strings.HasPrefix(got, source+": ") || !strings.Contains(got, "connection refused") {
		t.Error(got)
	}
	s := load(t, Options{Sources: []string{source, folder(t, other)}})
	same(t, routes(s), "POST /other.S/M *> other.S.M")
	same(t, fmt.Sprint(s.Pending), "["+source+"]")
	if len(s.Warnings) != 1 || s.Warnings[0].Origin != source {
		t.Errorf("warnings: %v", s.Warnings)
	}
}

func TestReflectionIsRemembered(t *testing.T) {
	srv, addr := serve(t, shop, "v1 ")
	source := "grpc://" + addr.String()
	l := NewLoader(Options{Sources: []string{source}})
	first, err := l.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	srv.Stop()
	for _, l := range []*Loader{l, l.Next(Options{Sources: []string{source}})} {
		s, err := l.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if s.ID != first.ID || len(s.Pending) > 0 || len(s.Warnings) != 1 {
			t.Errorf("ID same: %v, pending %v, warnings %v", s.ID == first.ID, s.Pending, s.Warnings)
		}
	}
}

// watching runs l.Watch until the test ends; each change is sent.
func watching(t *testing.T, l *Loader) <-chan struct{} {
	ctx, cancel := context.WithCancel(context.Background())
	changes := make(chan struct{}, 100)
	done := make(chan error)
	go func() { done <- l.Watch(ctx, func() { changes <- struct{}{} }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return changes
}

// until loads after each change until the routes are those wanted.
func until(t *testing.T, l *Loader, changes <-chan struct{}, want string) *Snapshot {
	t.Helper()
	for {
		select {
		case <-changes:
			if s, err := l.Load(t.Context()); err == nil && strings.TrimSpace(routes(s)) == strings.TrimSpace(want) {
				return s
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("no change that leads to:\n%s", want)
		}
	}
}

func TestWatchReflection(t *testing.T) {
	srv, addr := serve(t, shop, "v1 ")
	l := NewLoader(Options{Sources: []string{"grpc://" + addr.String()}, ReflectionInterval: 20 * time.Millisecond})
	if _, err := l.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	changes := watching(t, l)
	srv.set(t, other)
	until(t, l, changes, "POST /other.S/M *> other.S.M")
}

func TestWatchReachesAServerThatComesLater(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := lis.Addr().String()
	lis.Close()
	l := NewLoader(Options{Sources: []string{"grpc://" + addr, folder(t, other)}, ReflectionInterval: 20 * time.Millisecond})
	if s, err := l.Load(t.Context()); err != nil || len(s.Pending) != 1 {
		t.Fatal(err, s)
	}
	changes := watching(t, l)
	srv, _ := serve(t, shop, "v1 ")
	if lis, err = net.Listen("tcp", addr); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(lis) }()
	t.Cleanup(func() { srv.Stop(); <-done })
	s := until(t, l, changes, "POST /other.S/M *> other.S.M\n"+strings.TrimSpace(shopRoutes))
	if len(s.Pending) > 0 || len(s.Warnings) > 0 {
		t.Errorf("pending %v, warnings %v", s.Pending, s.Warnings)
	}
}

func TestWatchFolder(t *testing.T) {
	dir := folder(t, other)
	rules := filepath.Join(t.TempDir(), "rules.yaml")
	write(t, rules, "")
	l := NewLoader(Options{Sources: []string{dir}, Rules: []string{rules}})
	if _, err := l.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	// A change between loading and watching is not lost.
	write(t, filepath.Join(dir, "deep/er/new.proto"), "syntax = \"proto3\"; package deep.er; service S { rpc M(R) returns (R); } message R {}")
	changes := watching(t, l)
	until(t, l, changes, "POST /deep.er.S/M *> deep.er.S.M\nPOST /other.S/M *> other.S.M")
	write(t, rules, "http: {rules: [{selector: other.S, get: /x}]}")
	until(t, l, changes, "POST /deep.er.S/M *> deep.er.S.M\nGET /x other.S.M")
}

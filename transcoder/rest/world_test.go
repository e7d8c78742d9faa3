package rest_test

import (
	"errors"
	"flag"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
	"github.com/transomhq/transom/interceptors"
	"github.com/transomhq/transom/internal/story"
	"github.com/transomhq/transom/router/httprule"
	"github.com/transomhq/transom/rpc"
	reflectcodec "github.com/transomhq/transom/transcoder/codec/reflect"
	"github.com/transomhq/transom/transcoder/rest"
	"github.com/transomhq/transom/upstream"
)

var _ = flag.Bool("update", false, "rewrite the expectations of stories")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStories(t *testing.T) { story.Run(t, "testdata", throughDoor) }

// throughDoor serves a story with the door alone: no edge, no policies.
func throughDoor(s story.Setup) http.Handler {
	methods, bindings := bindingsOf(s.T, s.Schema.Methods())
	conn, err := grpc.NewClient("passthrough:///"+s.Backend, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rpc.Codec{}), grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		s.T.Fatal(err)
	}
	s.T.Cleanup(func() { _ = conn.Close() })
	relay := &upstream.Relay{Backend: func(*rpc.Method) (upstream.Backend, bool) { return upstream.Backend{Name: "story", Conn: conn}, true }}
	return newHandler(s.T, bindings, rest.Options{
		Handler:       interceptors.NewChain(methods, nil, relay),
		Resolver:      types{s.Schema},
		Profile:       map[string]rest.Profile{"strict": rest.Strict, "grpc-gateway": rest.GRPCGateway, "envoy": rest.Envoy}[s.Profile],
		Policy:        func(*rpc.Method) *policyv1.Rest { return s.Rest },
		TimeoutHeader: "X-Request-Timeout",
		SystemQuery:   []string{"access_token"},
	})
}

type types struct{ *story.Schema }

func (t types) FindMessageByName(name protoreflect.FullName) (protoreflect.MessageType, error) {
	if m, err := t.Types.FindMessageByName(name); err == nil {
		return m, nil
	}
	return protoregistry.GlobalTypes.FindMessageByName(name)
}

func (t types) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	return t.FindMessageByName(protoreflect.FullName(url[strings.LastIndexByte(url, '/')+1:]))
}

func (t types) FindExtensionByName(name protoreflect.FullName) (protoreflect.ExtensionType, error) {
	return t.Types.FindExtensionByName(name)
}

func (t types) FindExtensionByNumber(m protoreflect.FullName, n protoreflect.FieldNumber) (protoreflect.ExtensionType, error) {
	return t.Types.FindExtensionByNumber(m, n)
}

// server routes as plainly as possible and hands what it found to the door.
type server struct {
	door   *rest.Door
	routes []route
}

type route struct {
	binding  *rpc.Binding
	template *httprule.Template
}

func newHandler(t testing.TB, bindings []*rpc.Binding, opts rest.Options) http.Handler {
	t.Helper()
	opts.Codec = reflectcodec.New()
	door, err := rest.New(bindings, opts)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{door: door}
	for _, b := range bindings {
		tpl, err := httprule.Parse(b.Template)
		if err != nil {
			t.Fatal(err)
		}
		s.routes = append(s.routes, route{b, tpl})
	}
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	call := rpc.NewCall(nil)
	defer call.Finish()
	var known bool
	for _, rt := range s.routes {
		values, ok := capture(rt.template, r.URL.EscapedPath())
		if !ok {
			continue
		}
		known = true
		if rt.binding.HTTPMethod == r.Method || r.Method == http.MethodHead && rt.binding.HTTPMethod == http.MethodGet {
			s.door.Serve(w, r, call, &rpc.Match{Binding: rt.binding, Values: values})
			return
		}
	}
	err := rpc.Errorf(codes.NotFound, "no such path")
	if known {
		err = rpc.Errorf(codes.Unimplemented, "no such method").WithHTTPStatus(http.StatusMethodNotAllowed)
		err.Header = []string{"Allow", "GET"}
	}
	s.door.Refuse(w, r, call, err)
}

// capture matches one path with one template; "**" must be last here.
func capture(t *httprule.Template, path string) ([]string, bool) {
	path, ok := strings.CutPrefix(path, "/")
	if t.Verb != "" && ok {
		path, ok = strings.CutSuffix(path, ":"+t.Verb)
	}
	if !ok {
		return nil, false
	}
	parts := strings.Split(path, "/")
	ends := make([]int, len(t.Segments)+1)
	for i, seg := range t.Segments {
		if seg.Kind == httprule.Deep {
			ends[i+1] = len(parts)
			continue
		}
		if i >= len(parts) || seg.Kind == httprule.Literal && seg.Text != parts[i] || parts[i] == "" {
			return nil, false
		}
		ends[i+1] = i + 1
	}
	if ends[len(t.Segments)] != len(parts) {
		return nil, false
	}
	values := []string{}
	for _, v := range t.Variables {
		values = append(values, strings.Join(parts[ends[v.Start]:ends[v.End]], "/"))
	}
	return values, true
}

// bindingsOf reads the annotations of methods.
func bindingsOf(t testing.TB, descs []protoreflect.MethodDescriptor) ([]*rpc.Method, []*rpc.Binding) {
	t.Helper()
	var methods []*rpc.Method
	var bindings []*rpc.Binding
	for _, d := range descs {
		m := rpc.NewMethod(d)
		methods = append(methods, m)
		rule, _ := proto.GetExtension(d.Options(), annotations.E_Http).(*annotations.HttpRule)
		for _, r := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
			if r == nil {
				continue
			}
			b, err := bindingOf(m, r)
			if err != nil {
				t.Fatal(err)
			}
			b.ID = len(bindings)
			bindings = append(bindings, b)
			m.Bindings = append(m.Bindings, b)
		}
	}
	return methods, bindings
}

func bindingOf(m *rpc.Method, r *annotations.HttpRule) (*rpc.Binding, error) {
	b := &rpc.Binding{Method: m, Body: r.GetBody(), ResponseBody: r.GetResponseBody(), Origin: "story"}
	for kind, path := range map[string]string{"GET": r.GetGet(), "PUT": r.GetPut(), "POST": r.GetPost(), "DELETE": r.GetDelete(), "PATCH": r.GetPatch()} {
		if path != "" {
			b.HTTPMethod, b.Template = kind, path
		}
	}
	tpl, err := httprule.Parse(b.Template)
	if err != nil {
		return nil, err
	}
	for _, v := range tpl.Variables {
		variable := rpc.Variable{Path: v.Path, Multi: v.Multi}
		md := m.Desc.Input()
		for name := range strings.SplitSeq(v.Path, ".") {
			fd := md.Fields().ByName(protoreflect.Name(name))
			if fd == nil {
				return nil, errors.New("no field " + v.Path)
			}
			variable.Fields = append(variable.Fields, fd)
			md = fd.Message()
		}
		b.Variables = append(b.Variables, variable)
	}
	return b, nil
}

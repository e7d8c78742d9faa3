package schema

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/transomhq/transom/schema/builtin"
)

// Bounds of what a server may tell.
const (
	maxReflectionMessage = 64 << 20 // bytes
	maxReflectionFiles   = 20_000
)

// reflected is what a server said at one time.
type reflected struct {
	files map[string][]byte // FileDescriptorProto by path
	sum   string            // of the files: equal sums, equal schema
	// untold are services that the server lists and cannot describe, with its reason.
	untold []string
}

// askServer asks a server for all that it serves: reflection v1, or v1alpha
// where the server is older.
func askServer(ctx context.Context, source string, opts *Options) (*reflected, error) {
	ctx, cancel := context.WithTimeout(ctx, opts.reflectionTimeout())
	defer cancel()
	dial := defaultDial(source)
	if opts.DialOptions != nil {
		dial = opts.DialOptions(source)
	}
	dial = append(slices.Clip(dial), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReflectionMessage)))
	conn, err := grpc.NewClient(reflectionTarget(source), dial...)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	r, err := askAll(ctx, conn)
	if status.Code(err) == codes.Unimplemented {
		r, err = askAll(ctx, alpha{conn})
	}
	if status.Code(err) == codes.Unimplemented {
		return nil, errors.New("the server does not offer reflection")
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// reflectionTarget is the gRPC target of a source: "dns:///host:port", "unix:///path".
func reflectionTarget(source string) string {
	target := strings.TrimPrefix(strings.TrimPrefix(source, "grpcs:"), "grpc:")
	if host, ok := strings.CutPrefix(target, "//"); ok {
		return "dns:///" + host
	}
	return target
}

func defaultDial(source string) []grpc.DialOption {
	creds := insecure.NewCredentials()
	if strings.HasPrefix(source, "grpcs:") {
		creds = credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12})
	}
	return []grpc.DialOption{grpc.WithTransportCredentials(creds)}
}

// alpha is a connection on which reflection goes by its old name; the messages
// of both versions are the same on the wire.
type alpha struct{ grpc.ClientConnInterface }

func (a alpha) NewStream(ctx context.Context, desc *grpc.StreamDesc, _ string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return a.ClientConnInterface.NewStream(ctx, desc, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", opts...)
}

// asking is one reflection stream.
type asking struct {
	stream grpc.BidiStreamingClient[reflectionpb.ServerReflectionRequest, reflectionpb.ServerReflectionResponse]
	files  map[string][]byte
	deps   map[string]bool // imports seen, not all asked for yet
}

func askAll(ctx context.Context, conn grpc.ClientConnInterface) (*reflected, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream
	stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		return nil, err
	}
	a := &asking{stream: stream, files: map[string][]byte{}, deps: map[string]bool{}}
	services, err := a.services()
	if err != nil {
		return nil, err
	}
	out := &reflected{files: a.files}
	for _, service := range services {
		err := a.take(&reflectionpb.ServerReflectionRequest{
			MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: service},
		})
		if no := new(refusal); errors.As(err, &no) {
			out.untold = append(out.untold, fmt.Sprintf("service %s: %s", service, no))
		} else if err != nil {
			return nil, fmt.Errorf("service %s: %w", service, err)
		}
	}
	if err := a.imports(); err != nil {
		return nil, err
	}
	if len(a.files) == 0 {
		return nil, errors.New("the server has no services that it describes, beside health and reflection")
	}
	out.sum = sumFiles(a.files)
	return out, nil
}

func (a *asking) ask(req *reflectionpb.ServerReflectionRequest) (*reflectionpb.ServerReflectionResponse, error) {
	if err := a.stream.Send(req); err != nil {
		if _, recvErr := a.stream.Recv(); recvErr != nil { // the stream's status, which Send does not have
			return nil, recvErr
		}
		return nil, err
	}
	resp, err := a.stream.Recv()
	if err != nil {
		return nil, err
	}
	if e := resp.GetErrorResponse(); e != nil {
		// Not a status of the stream: another request may still succeed.
		return nil, &refusal{codes.Code(e.GetErrorCode()), e.GetErrorMessage()}
	}
	return resp, nil
}

// refusal is a server's answer that it cannot tell something.
type refusal struct {
	code codes.Code
	text string
}

func (r *refusal) Error() string {
	return fmt.Sprintf("the server does not describe it (%s: %s)", r.code, r.text)
}

// services returns the names of the server's services, but those that the
// gateway answers itself.
func (a *asking) services() ([]string, error) {
	resp, err := a.ask(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{ListServices: "*"}})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range resp.GetListServicesResponse().GetService() {
		if !own(s.GetName()) {
			names = append(names, s.GetName())
		}
	}
	slices.Sort(names)
	return names, nil
}

// take adds the files of one answer and notes what they import.
func (a *asking) take(req *reflectionpb.ServerReflectionRequest) error {
	resp, err := a.ask(req)
	if err != nil {
		return err
	}
	for _, b := range resp.GetFileDescriptorResponse().GetFileDescriptorProto() {
		f, err := decodeFile(b, "")
		if err != nil {
			return fmt.Errorf("a file that cannot be read: %w", err)
		}
		a.files[f.proto.GetName()] = b
		if len(a.files) > maxReflectionFiles {
			return fmt.Errorf("the server has more than %d files", maxReflectionFiles)
		}
		for _, dep := range f.proto.GetDependency() {
			if !a.deps[dep] {
				a.deps[dep] = false
			}
		}
	}
	return nil
}

// imports asks for the files that are imported and were not sent along. What
// the server does not know is left to linking, which may not need it.
func (a *asking) imports() error {
	for {
		var next []string
		for dep, asked := range a.deps {
			if !asked && a.files[dep] == nil {
				next = append(next, dep)
			}
			a.deps[dep] = true
		}
		if len(next) == 0 {
			return nil
		}
		slices.Sort(next)
		for _, dep := range next {
			err := a.take(&reflectionpb.ServerReflectionRequest{
				MessageRequest: &reflectionpb.ServerReflectionRequest_FileByFilename{FileByFilename: dep},
			})
			if no := new(refusal); err != nil && !errors.As(err, &no) {
				return fmt.Errorf("import %q: %w", dep, err)
			}
		}
	}
}

func sumFiles(files map[string][]byte) string {
	h := sha256.New()
	for _, path := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(h, "%d %s\n", len(files[path]), path)
		h.Write(files[path])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// decode returns the files as those of source. Files that only came along are
// its imports.
func (r *reflected) decode(source string) (files []*file, problems []Problem) {
	for _, path := range slices.Sorted(maps.Keys(r.files)) {
		f, err := decodeFile(r.files[path], source)
		if err != nil {
			problems = append(problems, Problem{source, plainError(err, "")})
			continue
		}
		f.imported = builtin.Find(path) != nil
		files = append(files, f)
	}
	return files, problems
}

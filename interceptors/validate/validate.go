package validate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	policyv1 "github.com/transomhq/transom/gen/transom/policy/v1"
	"github.com/transomhq/transom/rpc"
)

// Method is one method whose requests may be checked.
type Method struct {
	Desc protoreflect.MethodDescriptor
	// Mode is enforce unless something else is said.
	Mode policyv1.Validation_Mode
}

// Options configure a Checker.
type Options struct {
	Methods []Method
	// Resolver finds the extensions that predefined rules are written as. nil:
	// those that are linked into the program.
	Resolver protoregistry.ExtensionTypeResolver
	// Metrics count violations; nil counts nothing.
	Metrics *Metrics
}

// Checker refuses messages that break their rules. It is immutable.
type Checker struct {
	validator protovalidate.Validator
	methods   map[string]*method // those whose requests have rules
}

type method struct {
	name   string
	report bool
	counts counts
}

// New compiles the rules of all methods. Its error is every rule that cannot
// be evaluated: one that is ignored would be a hole.
func New(opts Options) (*Checker, error) {
	c := &Checker{methods: map[string]*method{}}
	s := newSurvey()
	var inputs []protoreflect.MessageDescriptor
	for _, m := range opts.Methods {
		in := m.Desc.Input()
		if m.Mode == policyv1.Validation_MODE_OFF || !s.hasRules(in) {
			continue
		}
		name := "/" + string(m.Desc.Parent().FullName()) + "/" + string(m.Desc.Name())
		report := m.Mode == policyv1.Validation_MODE_REPORT
		c.methods[name] = &method{name: name, report: report, counts: opts.Metrics.of(m.Desc)}
		inputs = append(inputs, in)
	}
	if len(inputs) == 0 {
		return c, nil
	}
	options := []protovalidate.ValidatorOption{protovalidate.WithMessageDescriptors(inputs...)}
	if opts.Resolver != nil {
		options = append(options, protovalidate.WithExtensionTypeResolver(opts.Resolver))
	}
	var err error
	if c.validator, err = protovalidate.New(options...); err != nil {
		return nil, fmt.Errorf("validation: %w", err)
	}
	return c, compiled(c.validator, inputs)
}

// Applies reports whether requests of a method, given by its full name, are checked.
func (c *Checker) Applies(method string) bool { return c.methods[method] != nil }

// Unary returns the interceptor for unary calls.
func (c *Checker) Unary() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		if m := c.methods[info.FullMethod]; m != nil {
			if err := c.check(ctx, m, req); err != nil {
				return nil, err
			}
		}
		return next(ctx, req)
	}
}

// Stream returns the interceptor for all other calls.
func (c *Checker) Stream() grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		m := c.methods[info.FullMethod]
		if m == nil {
			return next(srv, ss)
		}
		s := &stream{ServerStream: ss, checker: c, method: m}
		err := next(srv, s)
		if refused := s.refused.Load(); refused != nil {
			return *refused
		}
		return err
	}
}

// check returns why a message is refused.
func (c *Checker) check(ctx context.Context, m *method, msg any) error {
	decoded, err := view(msg)
	if err != nil {
		return err
	}
	err = c.validator.Validate(decoded)
	if err == nil {
		return nil
	}
	var broken *protovalidate.ValidationError
	if !errors.As(err, &broken) {
		// A rule that cannot be evaluated holds for nobody, and it is not the client's mistake.
		if err = (rpc.Errorf(codes.Internal, "the request's rules cannot be checked").WithCause(err)); !m.report {
			return err
		}
		note(ctx, err.Error())
		return nil
	}
	m.counts.add(m.report)
	if m.report {
		note(ctx, summary(broken.Violations))
		return nil
	}
	return refusal(broken)
}

// view decodes a message for reading only.
func view(msg any) (proto.Message, error) {
	m, ok := msg.(*rpc.Message)
	if !ok {
		if pm, ok := msg.(proto.Message); ok {
			return pm, nil
		}
		return nil, rpc.Errorf(codes.Internal, "internal error").WithCause(fmt.Errorf("message is a %T", msg))
	}
	if err := m.Load(); err != nil {
		return nil, err
	}
	decoded, err := m.View()
	if err != nil {
		return nil, rpc.Errorf(codes.InvalidArgument, "the request is not a valid %s message", m.Descriptor().FullName()).WithCause(err)
	}
	return decoded.Interface(), nil
}

// note puts what would have been refused on the call's record.
func note(ctx context.Context, text string) {
	if call := rpc.FromContext(ctx); call != nil {
		call.Update(func(o *rpc.Outcome) { o.Attrs = append(o.Attrs, slog.String("invalid", text)) })
	}
}

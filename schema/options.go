package schema

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Options say what to load and how strictly. The zero value loads nothing;
// with Sources alone, every service that they declare is there.
type Options struct {
	// Sources are, in any mix:
	//   - images: a FileDescriptorSet in binary (.binpb, .pb, any other name),
	//     JSON (.json) or text (.txtpb), also compressed with gzip or zstd
	//   - folders of .proto files, or one .proto file
	//   - servers that offer reflection: grpc://host:port, grpcs://host:port
	//     (TLS), grpc:unix:///path
	Sources []string
	// Files are descriptors that are linked into the program.
	Files []protoreflect.FileDescriptor
	// Rules are service-config files (google.api.Service in YAML or JSON), of
	// which http.rules count. The last rule that matches a method wins and
	// replaces the method's google.api.http option.
	Rules []string

	// Include and Exclude are selectors ("shop.orders.v1.*", a service, a
	// method) of what is served. No Include means everything but services of
	// built-in imports (google.longrunning.Operations ...), of files that an
	// image marks as mere imports, and grpc.channelz; those must be named.
	// Exclude wins.
	Include, Exclude []string

	// SkipInvalid leaves out what is wrong, with a warning, and loads the rest.
	SkipInvalid bool
	// NoImplicit leaves methods without a google.api.http rule without a
	// binding, instead of POST /pkg.Service/Method with the body "*".
	NoImplicit bool
	// NestedBody allows body and response_body to name a nested field, "a.b".
	NestedBody bool
	// RepeatedPathVariables allows repeated scalars as path variables.
	RepeatedPathVariables bool

	// DialOptions gives the options for reaching a reflection source, which is
	// passed as configured. Nil means by scheme: plaintext, or TLS with the
	// system's roots.
	DialOptions func(source string) []grpc.DialOption
	// ReflectionTimeout bounds one look at one server. 0 means 10 s.
	ReflectionTimeout time.Duration
	// ReflectionInterval is how often Watch looks at servers again. 0 means
	// 30 s, negative never. A server that could not be reached is tried again
	// sooner, from 1 s on.
	ReflectionInterval time.Duration
}

func (o *Options) reflectionTimeout() time.Duration {
	if o.ReflectionTimeout <= 0 {
		return 10 * time.Second
	}
	return o.ReflectionTimeout
}

func (o *Options) reflectionInterval() time.Duration {
	if o.ReflectionInterval == 0 {
		return 30 * time.Second
	}
	return o.ReflectionInterval
}

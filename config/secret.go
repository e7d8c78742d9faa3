package config

import (
	"io"
	"os"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
)

// maxSecretBytes bounds a file that holds a secret.
const maxSecretBytes = 1 << 20

// readSecrets gives every secret its value.
func (f *File) readSecrets(env Env) { f.readSecretsOf(f.Config.ProtoReflect(), env) }

func (f *File) readSecretsOf(m protoreflect.Message, env Env) {
	walk(m, "", func(m protoreflect.Message, path string) {
		if s, ok := m.Interface().(*configv1.Secret); ok {
			f.readSecret(s, path, env)
		}
	})
}

func (f *File) readSecret(s *configv1.Secret, path string, env Env) {
	set := 0
	for _, text := range []string{s.GetValue(), s.GetFile(), s.GetEnv()} {
		if text != "" {
			set++
		}
	}
	switch {
	case set != 1:
		f.wrong(path, "want one of value, file and env, not %d of them", set)
	case s.GetEnv() != "":
		value, ok := "", false
		if env != nil {
			value, ok = env(s.GetEnv())
		}
		if !ok || value == "" {
			f.wrong(join(path, "env"), "environment variable %s is not set", quoteName(s.GetEnv()))
		}
		s.Value = value
	case s.GetFile() != "":
		value, err := readSecretFile(s.GetFile())
		if err != nil {
			f.wrong(join(path, "file"), "%s", err)
		} else if value == "" {
			f.wrong(join(path, "file"), "%s is empty", s.GetFile())
		}
		s.Value = value
	}
}

func readSecretFile(name string) (string, error) {
	in, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer in.Close()
	text, err := io.ReadAll(io.LimitReader(in, maxSecretBytes))
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"), nil
}

// Masked stands for a secret where a configuration is shown.
const Masked = "********"

// Mask returns a copy of cfg to show: each secret is masked, or only named
// where it comes from.
func Mask(cfg *configv1.Config) *configv1.Config {
	c := proto.CloneOf(cfg)
	mask(c.ProtoReflect())
	return c
}

func mask(m protoreflect.Message) {
	walk(m, "", func(m protoreflect.Message, _ string) {
		if s, ok := m.Interface().(*configv1.Secret); ok && (s.GetFile() != "" || s.GetEnv() != "") {
			s.Value = ""
			return
		}
		m.Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
			if opts, ok := fd.Options().(*descriptorpb.FieldOptions); ok && opts.GetDebugRedact() {
				maskField(m, fd)
			}
			return true
		})
	})
}

// maskField masks texts, and leaves out what is none.
func maskField(m protoreflect.Message, fd protoreflect.FieldDescriptor) {
	switch {
	case fd.Kind() != protoreflect.StringKind || fd.IsMap():
		m.Clear(fd)
	case fd.IsList():
		for i := range m.Get(fd).List().Len() {
			m.Get(fd).List().Set(i, protoreflect.ValueOfString(Masked))
		}
	default:
		m.Set(fd, protoreflect.ValueOfString(Masked))
	}
}

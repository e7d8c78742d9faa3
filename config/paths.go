package config

import (
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	configv1 "github.com/transomhq/transom/gen/transom/config/v1"
)

// resolvePaths makes relative paths start at dir, the folder of the file.
func (f *File) resolvePaths(dir string) {
	if dir == "." {
		return
	}
	walk(f.Config.ProtoReflect(), "", func(m protoreflect.Message, _ string) {
		m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			switch kind := RuleOf(fd).GetKind(); {
			case kind != configv1.Kind_KIND_FILE && kind != configv1.Kind_KIND_NEW_FILE && kind != configv1.Kind_KIND_SCHEMA_SOURCE:
			case fd.IsList():
				for i := range v.List().Len() {
					v.List().Set(i, protoreflect.ValueOfString(resolve(dir, v.List().Get(i).String())))
				}
			default:
				m.Set(fd, protoreflect.ValueOfString(resolve(dir, v.String())))
			}
			return true
		})
	})
}

func resolve(dir, path string) string {
	if path == "" || filepath.IsAbs(path) || isServer(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// isServer reports whether a schema source is a server that is asked by reflection.
func isServer(source string) bool {
	return strings.HasPrefix(source, "grpc://") || strings.HasPrefix(source, "grpcs://") || strings.HasPrefix(source, "grpc:unix:")
}

package schema

import (
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/transomhq/transom/schema/builtin"
)

// Types finds message and extension types for JSON (google.protobuf.Any, error
// details, extensions): those of the snapshot as dynamic types, and the
// built-in ones (google.rpc, google.protobuf, google.type ...) where the
// snapshot does not define them. It is immutable and safe for concurrent use.
type Types struct {
	dynamic    *dynamicpb.Types
	extensions map[protoreflect.FullName][]protoreflect.ExtensionType // by extended message
}

func newTypes(files *protoregistry.Files) *Types {
	t := &Types{dynamic: dynamicpb.NewTypes(files), extensions: map[protoreflect.FullName][]protoreflect.ExtensionType{}}
	files.RangeFiles(func(fd protoreflect.FileDescriptor) bool {
		t.addExtensions(fd)
		return true
	})
	// The first search by number builds dynamicpb's index: here, not in a call.
	_, _ = t.dynamic.FindExtensionByNumber("google.protobuf.MethodOptions", 1)
	return t
}

// FindMessageByName returns the message type of that full name, or protoregistry.NotFound.
func (t *Types) FindMessageByName(name protoreflect.FullName) (protoreflect.MessageType, error) {
	mt, err := t.dynamic.FindMessageByName(name)
	if err == nil {
		return mt, nil
	}
	return builtinMessage(protoregistry.GlobalTypes.FindMessageByName(name))
}

// FindMessageByURL returns the message type of a type URL, whose last path
// segment is the full name, or protoregistry.NotFound.
func (t *Types) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	mt, err := t.dynamic.FindMessageByURL(url)
	if err == nil {
		return mt, nil
	}
	return builtinMessage(protoregistry.GlobalTypes.FindMessageByURL(url))
}

// FindExtensionByName returns the extension type of that full name, or protoregistry.NotFound.
func (t *Types) FindExtensionByName(name protoreflect.FullName) (protoreflect.ExtensionType, error) {
	xt, err := t.dynamic.FindExtensionByName(name)
	if err == nil {
		return xt, nil
	}
	return builtinExtension(protoregistry.GlobalTypes.FindExtensionByName(name))
}

// FindExtensionByNumber returns the extension type of that number, or protoregistry.NotFound.
func (t *Types) FindExtensionByNumber(message protoreflect.FullName, number protoreflect.FieldNumber) (protoreflect.ExtensionType, error) {
	xt, err := t.dynamic.FindExtensionByNumber(message, number)
	if err == nil {
		return xt, nil
	}
	return builtinExtension(protoregistry.GlobalTypes.FindExtensionByNumber(message, number))
}

// addExtensions adds what is declared in d, a file or a message.
func (t *Types) addExtensions(d interface {
	Extensions() protoreflect.ExtensionDescriptors
	Messages() protoreflect.MessageDescriptors
},
) {
	for i := range d.Extensions().Len() {
		xd := d.Extensions().Get(i)
		of := xd.ContainingMessage().FullName()
		t.extensions[of] = append(t.extensions[of], dynamicpb.NewExtensionType(xd))
	}
	for i := range d.Messages().Len() {
		t.addExtensions(d.Messages().Get(i))
	}
}

// RangeExtensionsByMessage calls f for the snapshot's extensions of a message
// until f returns false, in no order. With it, Types can answer reflection.
func (t *Types) RangeExtensionsByMessage(message protoreflect.FullName, f func(protoreflect.ExtensionType) bool) {
	for _, xt := range t.extensions[message] {
		if !f(xt) {
			return
		}
	}
}

// builtinMessage hides linked types that are nobody's import: libraries' own.
func builtinMessage(mt protoreflect.MessageType, err error) (protoreflect.MessageType, error) {
	if err != nil || builtin.Find(mt.Descriptor().ParentFile().Path()) == nil {
		return nil, protoregistry.NotFound
	}
	return mt, nil
}

func builtinExtension(xt protoreflect.ExtensionType, err error) (protoreflect.ExtensionType, error) {
	if err != nil || builtin.Find(xt.TypeDescriptor().ParentFile().Path()) == nil {
		return nil, protoregistry.NotFound
	}
	return xt, nil
}

// linkedFirst finds linked types, and else those of an image.
type linkedFirst struct{ image *dynamicpb.Types }

func (l linkedFirst) FindMessageByName(name protoreflect.FullName) (protoreflect.MessageType, error) {
	if mt, err := protoregistry.GlobalTypes.FindMessageByName(name); err == nil {
		return mt, nil
	}
	return l.image.FindMessageByName(name)
}

func (l linkedFirst) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	if mt, err := protoregistry.GlobalTypes.FindMessageByURL(url); err == nil {
		return mt, nil
	}
	return l.image.FindMessageByURL(url)
}

func (l linkedFirst) FindExtensionByName(name protoreflect.FullName) (protoreflect.ExtensionType, error) {
	if xt, err := protoregistry.GlobalTypes.FindExtensionByName(name); err == nil {
		return xt, nil
	}
	return l.image.FindExtensionByName(name)
}

func (l linkedFirst) FindExtensionByNumber(message protoreflect.FullName, number protoreflect.FieldNumber) (protoreflect.ExtensionType, error) {
	if xt, err := protoregistry.GlobalTypes.FindExtensionByNumber(message, number); err == nil {
		return xt, nil
	}
	return l.image.FindExtensionByNumber(message, number)
}

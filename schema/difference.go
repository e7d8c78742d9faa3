package schema

import (
	"fmt"

	"google.golang.org/protobuf/proto"
)

// difference names what two definitions of one file disagree on, so that the
// reader need not compare them: "message Order", "service Orders".
func difference(a, b *file) string {
	x, y := definitions(a.proto), definitions(b.proto)
	if x.GetPackage() != y.GetPackage() {
		return fmt.Sprintf("package %q and %q", x.GetPackage(), y.GetPackage())
	}
	for _, what := range []string{
		firstDifference("message", x.MessageType, y.MessageType),
		firstDifference("enum", x.EnumType, y.EnumType),
		firstDifference("service", x.Service, y.Service),
		firstDifference("extension", x.Extension, y.Extension),
	} {
		if what != "" {
			return what
		}
	}
	return "their syntax, imports or options"
}

type named interface {
	proto.Message
	GetName() string
}

func firstDifference[T named](kind string, as, bs []T) string {
	there := make(map[string]T, len(bs))
	for _, b := range bs {
		there[b.GetName()] = b
	}
	for _, a := range as {
		b, ok := there[a.GetName()]
		if !ok {
			return fmt.Sprintf("%s %s is missing in the latter", kind, a.GetName())
		}
		if !proto.Equal(a, b) {
			return kind + " " + a.GetName()
		}
		delete(there, a.GetName())
	}
	for _, b := range bs {
		if _, more := there[b.GetName()]; more {
			return fmt.Sprintf("%s %s is missing in the former", kind, b.GetName())
		}
	}
	if len(as) > 0 && len(as) == len(bs) && as[0].GetName() != bs[0].GetName() {
		return "the order of its " + kind + "s"
	}
	return ""
}

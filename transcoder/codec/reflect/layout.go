package reflectcodec

import (
	"encoding/json"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/transomhq/transom/transcoder/codec"
	"github.com/transomhq/transom/transcoder/codec/internal/jsonscan"
)

// target is what a piece of text is the JSON of; empty if that does not matter.
type target struct {
	field   protoreflect.FieldDescriptor
	message protoreflect.MessageDescriptor
	list    bool
	dict    bool
}

func targetOf(f protoreflect.FieldDescriptor) target {
	switch {
	case f == nil:
		return target{}
	case f.IsMap():
		return target{field: f.MapValue(), message: f.MapValue().Message(), dict: true}
	}
	return target{field: f, message: f.Message(), list: f.IsList()}
}

// layout copies valid JSON text token by token with white space of our own,
// and takes the quotes off 64-bit integers if asked to.
type layout struct {
	out, text []byte
	pos       int
	depth     int
	indent    int
	bareInt64 bool
	resolver  codec.Resolver
}

func (l *layout) value(t target) {
	switch b := l.peek(); {
	case b == '{':
		l.object(t)
	case b == '[':
		l.array(t)
	case b == '"' && l.bareInt64 && t.isInt64():
		l.pos++
		l.until("\"")
		l.pos++
	case b == '"':
		end, _ := jsonscan.String(l.text, l.pos)
		l.out = append(l.out, l.text[l.pos:end]...)
		l.pos = end
	default:
		l.until(",]} \n")
	}
}

func (t target) isInt64() bool {
	if t.list || t.dict {
		return false
	}
	if t.message != nil {
		name := t.message.FullName()
		return name == "google.protobuf.Int64Value" || name == "google.protobuf.UInt64Value"
	}
	if t.field == nil {
		return false
	}
	switch t.field.Kind() {
	case protoreflect.Int64Kind, protoreflect.Uint64Kind, protoreflect.Sint64Kind,
		protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind:
		return true
	}
	return false
}

func (l *layout) object(t target) {
	l.open('{')
	for l.more('}') {
		end, _ := jsonscan.String(l.text, l.pos)
		raw := l.text[l.pos:end]
		l.out = append(append(l.out, raw...), ':')
		if l.indent > 0 {
			l.out = append(l.out, ' ')
		}
		l.pos = end
		l.peek()
		l.pos++ // the colon
		name := string(jsonscan.Unquote(nil, raw[1:len(raw)-1]))
		if name == "@type" && t.message != nil && t.message.FullName() == "google.protobuf.Any" {
			t = l.anyTarget()
			l.value(target{})
			continue
		}
		l.value(t.member(name, l.resolver))
	}
	l.close('}')
}

// anyTarget looks at the type URL that stands next.
func (l *layout) anyTarget() target {
	l.peek()
	end, _ := jsonscan.String(l.text, l.pos)
	url := string(jsonscan.Unquote(nil, l.text[l.pos+1:end-1]))
	typ, err := l.resolver.FindMessageByURL(url)
	if err != nil {
		return target{}
	}
	// The text of a type with a form of its own is the member "value".
	return target{message: typ.Descriptor(), dict: hasOwnForm(typ.Descriptor())}
}

// member is what the member name of t's object is.
func (t target) member(name string, resolver codec.Resolver) target {
	switch {
	case t.dict:
		return target{field: t.field, message: t.message}
	case t.message == nil || hasOwnForm(t.message):
		return target{}
	case name != "" && name[0] == '[':
		ext, err := resolver.FindExtensionByName(protoreflect.FullName(name[1 : len(name)-1]))
		if err != nil {
			return target{}
		}
		return targetOf(ext.TypeDescriptor())
	}
	f := t.message.Fields().ByJSONName(name)
	if f == nil {
		f = t.message.Fields().ByTextName(name)
	}
	return targetOf(f)
}

func (l *layout) array(t target) {
	l.open('[')
	t.list = false
	for l.more(']') {
		l.value(t)
	}
	l.close(']')
}

func (l *layout) peek() byte {
	for l.text[l.pos] == ' ' || l.text[l.pos] == '\n' {
		l.pos++
	}
	return l.text[l.pos]
}

func (l *layout) until(stops string) {
	for ; l.pos < len(l.text); l.pos++ {
		for i := range len(stops) {
			if l.text[l.pos] == stops[i] {
				return
			}
		}
		l.out = append(l.out, l.text[l.pos])
	}
}

func (l *layout) open(b byte) {
	l.out = append(l.out, b)
	l.pos++
	l.depth++
}

// more steps to the next element, or over the end of the container.
func (l *layout) more(end byte) bool {
	switch l.peek() {
	case end:
		l.pos++
		return false
	case ',':
		l.pos++
		l.peek()
		l.out = append(l.out, ',')
	}
	l.line()
	return true
}

func (l *layout) close(b byte) {
	l.depth--
	if last := l.out[len(l.out)-1]; last != '{' && last != '[' {
		l.line()
	}
	l.out = append(l.out, b)
}

func (l *layout) line() {
	if l.indent == 0 {
		return
	}
	l.out = append(l.out, '\n')
	for range l.depth * l.indent {
		l.out = append(l.out, ' ')
	}
}

// quote is name as a JSON string.
func quote(name string) string {
	b, _ := json.Marshal(name) // a string always marshals
	return string(b)
}

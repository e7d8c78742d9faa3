package validate

import (
	"errors"
	"fmt"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// survey finds out which message types have rules, anywhere within.
type survey struct {
	clean map[protoreflect.MessageDescriptor]bool // no rules here and below
}

func newSurvey() *survey { return &survey{clean: map[protoreflect.MessageDescriptor]bool{}} }

// hasRules reports whether md, or a message that it may hold, has rules.
func (s *survey) hasRules(md protoreflect.MessageDescriptor) bool {
	found := false
	seen := reach(md, func(md protoreflect.MessageDescriptor) bool {
		found = found || declaresRules(md)
		return !found && !s.clean[md]
	})
	if !found {
		for md := range seen {
			s.clean[md] = true
		}
	}
	return found
}

// reach visits md and the messages that it may hold, each once. It goes on
// below a message when visit returns true.
func reach(md protoreflect.MessageDescriptor, visit func(protoreflect.MessageDescriptor) bool) map[protoreflect.MessageDescriptor]bool {
	seen := map[protoreflect.MessageDescriptor]bool{md: true}
	for queue := []protoreflect.MessageDescriptor{md}; len(queue) > 0; {
		md, queue = queue[len(queue)-1], queue[:len(queue)-1]
		if !visit(md) {
			continue
		}
		for i := range md.Fields().Len() {
			if sub := md.Fields().Get(i).Message(); sub != nil && !seen[sub] {
				seen[sub] = true
				queue = append(queue, sub)
			}
		}
	}
	return seen
}

// declaresRules reports whether md itself declares rules. Rules that cannot be
// read are rules, too.
func declaresRules(md protoreflect.MessageDescriptor) bool {
	if rules, err := protovalidate.ResolveMessageRules(md); err != nil || rules != nil {
		return true
	}
	for i := range md.Oneofs().Len() {
		if rules, err := protovalidate.ResolveOneofRules(md.Oneofs().Get(i)); err != nil || rules != nil {
			return true
		}
	}
	for i := range md.Fields().Len() {
		if rules, err := protovalidate.ResolveFieldRules(md.Fields().Get(i)); err != nil || rules != nil {
			return true
		}
	}
	return false
}

// compiled returns every rule of inputs, and of what they may hold, that
// cannot be evaluated. The validator itself would tell at the first message.
func compiled(v protovalidate.Validator, inputs []protoreflect.MessageDescriptor) error {
	var errs []error
	seen := map[protoreflect.MessageDescriptor]bool{}
	for _, in := range inputs {
		reach(in, func(md protoreflect.MessageDescriptor) bool {
			if seen[md] {
				return false
			}
			seen[md] = true
			if md.IsMapEntry() {
				return true
			}
			var broken *protovalidate.CompilationError
			if err := v.Validate(dynamicpb.NewMessage(md)); errors.As(err, &broken) {
				errs = append(errs, fmt.Errorf("%s: validation rules of %s: %w", md.ParentFile().Path(), md.FullName(), broken))
			}
			return true
		})
	}
	return errors.Join(errs...)
}

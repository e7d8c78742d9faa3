package direct

// any reads a google.protobuf.Any. Its type stands first as a rule; otherwise
// the object is read once more for it.
func (r *reader) any(_ *message, i int) int {
	if r.in[i] != '{' {
		return r.unexpected(i, "an object")
	}
	first := r.space(i + 1)
	if r.in[first] == '}' {
		return first + 1
	}
	const lead = `"@type"`
	if first+len(lead) > r.n || string(r.in[first:first+len(lead)]) != lead {
		return r.anyTypeLater(i, first)
	}
	at, next := r.typeValue(first)
	if next == failed {
		return failed
	}
	m := r.anyType(at)
	if m == nil {
		return failed
	}
	switch next = r.space(next); r.in[next] {
	case ',':
		return r.anyContent(m, i, r.space(next+1), false, typeTwice)
	case '}':
		return r.anyContent(m, i, next, true, typeTwice)
	}
	return r.unexpected(next, "',' or '}'")
}

// typeValue reads the name "@type" at i and returns where its value is, and the
// offset after that.
func (r *reader) typeValue(i int) (at, next int) {
	_, i = r.nameColon(i)
	if i == failed {
		return failed, failed
	}
	at = r.space(i)
	if r.in[at] != '"' {
		return failed, r.fail(at, "the value of \"@type\" must be a string")
	}
	url, next := r.text(at)
	if next != failed && len(url) == 0 {
		return failed, r.fail(at, "the value of \"@type\" is empty")
	}
	return at, next
}

// anyTypeLater looks for the type behind other members.
func (r *reader) anyTypeLater(i, first int) int {
	found := failed
	for j := first; ; {
		at := j
		name, next := r.nameColon(j)
		if next == failed {
			return failed
		}
		if string(name) == "@type" {
			if found != failed {
				return r.fail(at, `duplicate field "@type"`)
			}
			found, next = r.typeValue(at)
		} else {
			next = r.skip(r.space(next), r.left)
		}
		if next == failed {
			return failed
		}
		j = r.space(next)
		if r.in[j] == '}' {
			if found == failed {
				if r.plan.opts.DiscardUnknown {
					return j + 1
				}
				return r.fail(i, `missing "@type" field`)
			}
			break
		}
		if r.in[j] != ',' {
			return r.unexpected(j, "',' or '}'")
		}
		j = r.space(j + 1)
	}
	m := r.anyType(found)
	if m == nil {
		return failed
	}
	return r.anyContent(m, i, first, false, typeSkip)
}

// anyType resolves the URL in the string at i and writes it; nil if it fails.
func (r *reader) anyType(i int) *message {
	url, _ := r.text(i)
	m := r.plan.family.byURL(url)
	if m == nil {
		r.fail(i, "unable to resolve the type %s", r.show(i))
		return nil
	}
	r.out = appendVarint(append(r.out, 0x0a), uint64(len(url)))
	r.out = append(r.out, url...)
	return m
}

// anyContent reads the members of an Any from the first name on.
func (r *reader) anyContent(m *message, start, i int, empty bool, rule typeRule) int {
	k := r.mark()
	r.out = append(r.out, 0x12)
	h := r.open()
	before := len(r.out)
	r.inAny++
	switch m.form {
	case formObject:
		if r.left <= 0 {
			return r.tooDeep(start)
		}
		r.left--
		i = r.membersFrom(m, i, start, empty, rule)
		r.left++
	case formRefused:
		return r.fail(start, "%s", m.refusal)
	default:
		i = r.anyValue(m, i, empty, rule)
	}
	r.inAny--
	if i == failed {
		return failed
	}
	if len(r.out) == before {
		r.rollBack(k)
		return i
	}
	r.close(h)
	return i
}

// anyValue reads the members of an Any whose type has a form of its own, which
// stands under "value".
func (r *reader) anyValue(m *message, i int, empty bool, rule typeRule) int {
	found := false
	for !empty {
		at := i
		name, next := r.nameColon(i)
		if next == failed {
			return failed
		}
		next = r.space(next)
		switch {
		case string(name) == "@type":
			if rule == typeTwice {
				return r.fail(at, `duplicate field "@type"`)
			}
			i = r.skip(next, 0)
		case string(name) == "value":
			if found {
				return r.fail(at, `duplicate field "value"`)
			}
			found = true
			i = r.content(m, next)
		case r.plan.opts.DiscardUnknown:
			i = r.skip(next, r.left)
		default:
			return r.unknown(at)
		}
		if i == failed {
			return failed
		}
		if i = r.space(i); r.in[i] == '}' {
			break
		}
		if r.in[i] != ',' {
			return r.unexpected(i, "',' or '}'")
		}
		i = r.space(i + 1)
	}
	if !found && m.form != formEmpty {
		return r.fail(i, `missing "value" field`)
	}
	return i + 1
}

// byURL finds the type that a type URL names. Only types that exist are kept:
// the URLs are a client's or a backend's.
func (f *family) byURL(url []byte) *message {
	if m, ok := f.urls.view()[string(url)]; ok {
		return m.tables()
	}
	typ, err := f.resolver.FindMessageByURL(string(url))
	if err != nil || typ == nil {
		return nil
	}
	return f.urls.keep(string(url), f.message(typ.Descriptor())).tables()
}

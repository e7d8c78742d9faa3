package httprule_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/transomhq/transom/router/httprule"
)

// shape writes a template's parts so that a table can show them: segments, then
// variables with their ranges ("+" for multi), then the verb.
func shape(t *httprule.Template) string {
	var b strings.Builder
	for _, s := range t.Segments {
		b.WriteString("/" + [...]string{s.Text, "*", "**"}[s.Kind])
	}
	for _, v := range t.Variables {
		b.WriteString(" " + v.Path + "=" + string(rune('0'+v.Start)) + ":" + string(rune('0'+v.End)))
		if v.Multi {
			b.WriteByte('+')
		}
	}
	if t.Verb != "" {
		b.WriteString(" verb=" + t.Verb)
	}
	return b.String()
}

func TestParse(t *testing.T) {
	for _, tc := range []struct{ template, want, text string }{
		{"/", "", ""},
		{"/v1/messages", "/v1/messages", ""},
		{"/v1/{id}", "/v1/* id=1:2", ""},
		{"/v1/{id=*}", "/v1/* id=1:2", "/v1/{id}"},
		{"/v1/*/x", "/v1/*/x", ""},
		{"/v1/**", "/v1/**", ""},
		{"/**", "/**", ""},
		{"/**/a/b", "/**/a/b", ""},
		{"/v1/{name=messages/*}", "/v1/messages/* name=1:3+", ""},
		{"/v1/{name=messages/*}/x", "/v1/messages/*/x name=1:3+", ""},
		{"/v1/{name=**}", "/v1/** name=1:2+", ""},
		{"/v1/{name=b/**}/z", "/v1/b/**/z name=1:3+", ""},
		{"/v1/{name=b/**/y}/z", "/v1/b/**/y/z name=1:4+", ""},
		{"/v1/{name=messages}", "/v1/messages name=1:2", ""},
		{"/v1/{a.b.c}", "/v1/* a.b.c=1:2", ""},
		{"/v1/{_a1.B_2}", "/v1/* _a1.B_2=1:2", ""},
		{"/v1/{a}/{b}", "/v1/*/* a=1:2 b=2:3", ""},
		{"/v1/{a}/{ab}", "/v1/*/* a=1:2 ab=2:3", ""},
		{"/{a}:get", "/* a=0:1 verb=get", ""},
		{"/{a=x/*}:get", "/x/* a=0:2+ verb=get", ""},
		{"/v1/x:get", "/v1/x verb=get", ""},
		{"/v1/*:get", "/v1/* verb=get", ""},
		{"/v1/**:get", "/v1/** verb=get", ""},
		{"/v1/x:y:get", "/v1/x:y verb=get", ""},
		{"/v1/{a}:y:get", "/v1/* a=1:2 verb=y:get", ""},
		{"/v1/x:y/z", "/v1/x:y/z", ""},
		{"/v1/{a=x:y}", "/v1/x:y a=1:2", ""},
		{"/a%2Fb/~u", "/a%2Fb/~u", ""},
		{"/a;b=c,d/e@f/$g!'()+&", "/a;b=c,d/e@f/$g!'()+&", ""},
		{"/größe/日本", "/größe/日本", ""},
		{"/gr%C3%B6%C3%9fe", "/gr%C3%B6%C3%9fe", ""},
		{"/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Check", ""},
		{"/.../.a/..b", "/.../.a/..b", ""},
	} {
		got, err := httprule.Parse(tc.template)
		if err != nil {
			t.Errorf("Parse(%q): %v", tc.template, err)
			continue
		}
		if s := shape(got); s != tc.want {
			t.Errorf("Parse(%q) = %s, want %s", tc.template, s, tc.want)
		}
		want := tc.text
		if want == "" {
			want = tc.template
		}
		if s := got.String(); s != want {
			t.Errorf("Parse(%q).String() = %q, want %q", tc.template, s, want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, tc := range []struct {
		template string
		offset   int
		text     string
	}{
		{"", 0, `the template is empty: it must start with "/"`},
		{"v1/x", 0, `the template must start with "/"`},
		{"{a}", 0, `the template must start with "/"`},
		{":get", 0, `the template must start with "/"`},
		{"//", 1, "a segment is empty"},
		{"/v1/", 4, "a segment is empty"},
		{"/v1//x", 4, "a segment is empty"},
		{"/v1/:get", 4, "a segment is empty"},
		{"/v1/x:", 6, `the verb after ":" is empty`},
		{"/v1/{a}:", 8, `the verb after ":" is empty`},
		{"/v1/./x", 4, `a "." segment never matches: paths with dot segments are refused`},
		{"/v1/%2e%2E/x", 4, `a ".." segment never matches: paths with dot segments are refused`},
		{"/v1/{a", 4, `the variable is not closed: add "}"`},
		{"/v1/{", 4, `the variable is not closed: add "}"`},
		{"/v1/{a.", 4, `the variable is not closed: add "}"`},
		{"/v1/{a=x/*", 4, `the variable is not closed: add "}"`},
		{"/v1/{}", 5, `a field name is missing before "}": names start with a letter or "_"`},
		{"/v1/{=x}", 5, `a field name is missing before "=": names start with a letter or "_"`},
		{"/v1/{a..b}", 7, `a field name is missing before ".": names start with a letter or "_"`},
		{"/v1/{1a}", 5, `a field name is missing before "1": names start with a letter or "_"`},
		{"/v1/{a.}", 7, `a field name is missing before "}": names start with a letter or "_"`},
		{"/v1/{a b}", 6, `unexpected " " in a field path: letters, digits, "_" and "." are allowed, then "=" or "}"`},
		{"/v1/{größe}", 7, `unexpected "ö" in a field path: letters, digits, "_" and "." are allowed, then "=" or "}"`},
		{"/v1/{a/b}", 6, `unexpected "/" in a field path: letters, digits, "_" and "." are allowed, then "=" or "}"`},
		{"/v1/{a:get}", 6, `unexpected ":" in a field path: letters, digits, "_" and "." are allowed, then "=" or "}"`},
		{"/v1/{a=}", 7, "a segment is empty"},
		{"/v1/{a=x/}", 9, "a segment is empty"},
		{"/v1/{a=/x}", 7, `a variable may not capture the leading "/": put it before the variable`},
		{"/v1/{a=x//y}", 9, "a segment is empty"},
		{"/v1/{a={b}}", 7, "a variable may not contain another variable"},
		{"/v1/{a=x/{b=*}}", 9, "a variable may not contain another variable"},
		{"/v1/{a}b", 7, `unexpected "b" after a variable: a variable is a whole segment, only "/" or a verb may follow it`},
		{"/v1/{a}-{b}", 7, `unexpected "-" after a variable: a variable is a whole segment, only "/" or a verb may follow it`},
		{"/v1/{a}}", 7, `unexpected "}" after a variable: a variable is a whole segment, only "/" or a verb may follow it`},
		{"/v1/{a}:get/x", 7, "a verb must be the end of the template"},
		{"/v1/a{b}", 5, `'{' in a literal: a variable is a whole segment`},
		{"/v1/a}", 5, `'}' in a literal: a variable is a whole segment`},
		{"/v1/a*", 5, `"*" in a literal: a wildcard is a whole segment`},
		{"/v1/***", 4, `"*" in a literal: a wildcard is a whole segment`},
		{"/v1/{a=x/*:get}", 9, `"*" in a literal: a wildcard is a whole segment`},
		{"/v1/x:*", 6, `"*" in a verb: a wildcard is a whole segment`},
		{"/v1/x?y=1", 5, `"?" in a literal: query parameters are not part of a template`},
		{"/v1/x#y", 5, `"#" in a literal: this character must be percent-escaped`},
		{"/v1/x y", 5, `" " in a literal: this character must be percent-escaped`},
		{"/v1/x\\y", 5, `"\\" in a literal: this character must be percent-escaped`},
		{"/v1/x\x00y", 5, `"\x00" in a literal: this character must be percent-escaped`},
		{"/v1/x%00y", 5, "escaped NUL in a literal: paths with NUL are refused"},
		{"/v1/100%", 7, `malformed percent-escape in a literal: "%" and two hexadecimal digits are needed`},
		{"/v1/%zz", 4, `malformed percent-escape in a literal: "%" and two hexadecimal digits are needed`},
		{"/v1/x\xff", 5, "a literal is not UTF-8"},
		{"/v1/x%ff", 4, "a literal is not UTF-8 once its percent-escapes are decoded"},
		{"/v1/**/*", 7, `only literals may follow the "**" at byte 4`},
		{"/v1/{a=**}/{b}", 13, `only literals may follow the "**" at byte 7`},
		{"/v1/**/x/**", 9, `only literals may follow the "**" at byte 4`},
		{"/v1/{a}/{a}", 9, `"a" is bound twice: a field may be a variable once`},
		{"/v1/{a}/{a.b}", 9, `"a.b" is part of "a", which is bound already`},
		{"/v1/{a.b}/{a}", 11, `"a" contains "a.b", which is bound already`},
		{strings.Repeat("/x", 257), 513, "the template has more than 256 segments"},
	} {
		_, err := httprule.Parse(tc.template)
		var e *httprule.Error
		if !errors.As(err, &e) {
			t.Errorf("Parse(%q) = %v, want an *Error", tc.template, err)
			continue
		}
		if e.Template != tc.template || e.Offset != tc.offset || e.Text != tc.text {
			t.Errorf("Parse(%q) fails at %d with %s\nwant at %d: %s", tc.template, e.Offset, e.Text, tc.offset, tc.text)
		}
	}
	_, err := httprule.Parse("/v1/{a")
	if got, want := err.Error(), `path template "/v1/{a", byte 4: the variable is not closed: add "}"`; got != want {
		t.Errorf("text is %s, want %s", got, want)
	}
}

func TestCanonical(t *testing.T) {
	for raw, want := range map[string]string{
		"~u": "~u", "%7Eu": "~u", "%7eu": "~u", "a%2fb": "a%2Fb", "a%3Ab": "a%3Ab", "a:b": "a:b",
		"%41%42": "AB", "ö": "%C3%B6", "%c3%b6": "%C3%B6", "a b": "a%20b", "%25": "%25", "%zz": "%zz", "a\\b": "a%5Cb",
	} {
		if got := string(httprule.AppendCanonical(nil, raw)); got != want {
			t.Errorf("AppendCanonical(%q) = %q, want %q", raw, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"/", "/v1/{name=projects/*/x/*}:cancel", "/a/{x=b/**}/z", "/{a.b.c}/*/**", "/x:y:z", "/{a}:b:c", "/gr%C3%B6%7e",
		"/v1/{a", "/{a={b}}", "//", "/x//", "/**/*", "/{a}/{a}", "/\xff", "/%00", "/{a=x:y}",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tpl, err := httprule.Parse(s)
		if err != nil {
			var e *httprule.Error
			if !errors.As(err, &e) || e.Offset < 0 || e.Offset > len(s) || e.Text == "" {
				t.Fatalf("Parse(%q): not a placed error: %v", s, err)
			}
			return
		}
		text := tpl.String()
		again, err := httprule.Parse(text)
		if err != nil {
			t.Fatalf("Parse(%q) prints %q, which fails: %v", s, text, err)
		}
		if !reflect.DeepEqual(tpl, again) {
			t.Fatalf("Parse(%q) prints %q, which is another template: %+v, %+v", s, text, tpl, again)
		}
		for _, seg := range tpl.Segments {
			c := seg.Canonical()
			if twice := string(httprule.AppendCanonical(nil, c)); twice != c {
				t.Fatalf("canonical %q becomes %q", c, twice)
			}
		}
		end := 0
		for _, v := range tpl.Variables {
			if v.Start < end || v.End <= v.Start || v.End > len(tpl.Segments) {
				t.Fatalf("Parse(%q): bad range %+v", s, v)
			}
			end = v.End
		}
	})
}

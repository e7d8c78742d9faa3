package jsonscan

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCheck(t *testing.T) {
	for _, tc := range []struct {
		text   string
		offset int // -1 if the text is valid
	}{
		{`{}`, -1}, {` [ ] `, -1}, {`{"a":[1,2,{"b":null}],"c":true}`, -1}, {`-0.5e+10`, -1},
		{`"\u0000\ud83d\ude00é"`, -1}, {"\"\x7f\"", -1},
		{``, 0}, {` `, 1}, {`{`, 1}, {`{"a"`, 4}, {`{"a":`, 5}, {`{"a":1`, 6}, {`{"a":1,}`, 7}, {`[1,]`, 3},
		{`[1 2]`, 3}, {`{} {}`, 3}, {`1e`, 0}, {`01`, 0}, {`+1`, 0}, {`.5`, 0}, {`1.`, 0}, {`-`, 0}, {`1.2.3`, 0},
		{`tru`, 0}, {`nulll`, 4}, {`"\ud800"`, 1}, {`"\udc00"`, 1}, {`"\ud800\u0041"`, 1}, {`"\x"`, 1},
		{"\"\xff\"", 1}, {"\"\n\"", 1}, {`"abc`, 4}, {`{a:1}`, 1}, {`{"a":1]`, 6}, {"\ufeff{}", 0}, {`{"a" 1}`, 5},
		{"{\"a\":1}\x00", 7}, {`// c`, 0}, {`[,1]`, 1},
	} {
		fault := Check([]byte(tc.text))
		switch {
		case fault == nil && tc.offset >= 0:
			t.Errorf("Check(%q) = nil, want a fault at %d", tc.text, tc.offset)
		case fault != nil && fault.Offset != tc.offset:
			t.Errorf("Check(%q) = %+v, want offset %d", tc.text, *fault, tc.offset)
		}
	}
	if fault := Check([]byte(strings.Repeat("[", MaxNesting+1))); fault == nil || !fault.Deep {
		t.Errorf("a text nested too deeply: %+v", fault)
	}
}

func TestLocate(t *testing.T) {
	text := "{\"a\": [1,\n  {\"b/~c\": 2}], \"d\": {\"x\": tru}, \"e\"}"
	for _, tc := range []struct{ at, pointer string }{
		{`1,`, "/a/0"}, {`{"b/`, "/a/1"}, {`2}`, "/a/1/b~1~0c"}, {`"b/~c"`, "/a/1/b~1~0c"},
		{`"x"`, "/d/x"}, {`tru`, "/d/x"}, {`"d"`, "/d"}, {`"e"`, "/e"}, {`{"a"`, ""},
	} {
		if got, _, _ := Locate([]byte(text), strings.Index(text, tc.at)); got != tc.pointer {
			t.Errorf("Locate(%q) = %q, want %q", tc.at, got, tc.pointer)
		}
	}
	if _, line, column := Locate([]byte(text), strings.Index(text, `"b/`)); line != 2 || column != 4 {
		t.Errorf("position = %d:%d, want 2:4", line, column)
	}
}

// FuzzCheck compares acceptance with encoding/json, which lets invalid UTF-8
// and lone surrogates pass, and Locate must stand anything.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e3,"\u00e9",{"b":null}]}`, `[`, `"\ud800"`, `{"a":1e}`, "\"\xff\""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		fault := Check(text)
		if fault == nil {
			if !json.Valid(text) {
				t.Fatalf("accepted what encoding/json refuses: %q", text)
			}
			if !utf8.Valid(text) {
				t.Fatalf("accepted invalid UTF-8: %q", text)
			}
			return
		}
		if fault.Offset < 0 || fault.Offset > len(text) {
			t.Fatalf("fault %+v lies outside of %q", *fault, text)
		}
		if json.Valid(text) && utf8.Valid(text) && !strings.Contains(string(text), `\u`) {
			t.Fatalf("refused what encoding/json accepts: %q: %+v", text, *fault)
		}
		Locate(text, fault.Offset)
	})
}

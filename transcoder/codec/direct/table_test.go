package direct

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/transomhq/transom/transcoder/codec"
	"github.com/transomhq/transom/transcoder/codec/internal/testpb"
)

var resolverForTest = protoregistry.GlobalTypes

// texts are members of Everything; each is tried as an object and in others.
func texts() []string {
	t := []string{
		``, `"fBool":true`, `"f_bool":false`, `"fBool":"true"`, `"fBool":1`, `"fBool":truex`, `"fBool":null`, `"fBool":tru`,
		`"fBool":true,"f_bool":true`, `"f\u0042ool":true`, `"fBool" : true `, `"fBool":null,"fBool":true`, `"fBool" true`,
		`"unknown":1`, `"unknown":{"a":[1,{"b":"\ud800"}]}`, `"unknown":1,"unknown":2`, `"":1`, `"unknown":01`, `"unknown":{"a":1,}`,
		`"fString":"abc"`, `"fString":""`, `"fString":"é€😀"`, `"fString":"\u00e9\ud83d\ude00\u0000\b\f\n\r\t\/\\\""`,
		`"fString":"\ud800"`, `"fString":"\ud800\u0041"`, `"fString":"\udc00\ud800"`, `"fString":"\x"`, `"fString":"\u12"`, `"fString":"\u+123"`,
		"\"fString\":\"\xff\"", "\"fString\":\"a\nb\"", "\"fString\":\"\x7f\"", "\"fString\":\"a\x00b\"", `"fString":"abc`, `"fString":1`, `"fString":"\`,
		`"fString":"` + strings.Repeat("x", 127) + `"`, `"fString":"` + strings.Repeat("x", 128) + `"`, `"fString":"` + strings.Repeat("é", 9000) + `"`,
		`"fString":"` + strings.Repeat("x", 7) + `\n` + strings.Repeat("é", 7) + `"`,
		`"fBytes":"aGk="`, `"fBytes":"aGk"`, `"fBytes":"_-8="`, `"fBytes":"/+8"`, `"fBytes":"_+8="`, `"fBytes":"aGl="`, `"fBytes":"aG k="`,
		`"fBytes":""`, `"fBytes":"aGk=="`, `"fBytes":"a"`, `"fBytes":"aG\nk="`, `"fBytes":"aG\r\nk="`, `"fBytes":"aGk\u003d"`, `"fBytes":1`, `"fBytes":"===="`,
		`"fBytes":"` + strings.Repeat("aGlq", 60) + `"`, `"fBytes":"` + strings.Repeat("aGlq", 42) + `aGk"`,
		`"fMode":"MODE_ON"`, `"fMode":"MODE_ALSO_ON"`, `"fMode":"MODE_UNSPECIFIED"`, `"fMode":2`, `"fMode":99`, `"fMode":-3`, `"fMode":2.0`, `"fMode":"2"`,
		`"fMode":"NOPE"`, `"fMode":2147483648`, `"fMode":null`, `"fMode":"mode_on"`, `"fMode":"MODE\u005fON"`, `"fMode":true`, `"fMode":1.5`,
		`"rMode":["MODE_ON","NOPE",1]`, `"rMode":["NOPE"]`, `"uMode":["NOPE","MODE_ON"]`, `"mMode":{"a":"NOPE","b":"MODE_ON"}`, `"mMode":{"a":"NOPE","a":"MODE_ON"}`,
		`"cMode":"NOPE","cInt32":1`, `"oMode":"NOPE"`, `"oMode":0`, `"cMode":0`, `"rMode":[null]`,
		`"fSub":{}`, `"fSub":null`, `"fSub":[]`, `"fSub":{"fSub":{"fSub":{"fInt32":1}}}`, `"fSub":"x"`, `"leaf":{"name":"x","codes":[1,2,300]}`,
		`"oBool":false,"oInt32":0,"oInt64":"0","oDouble":0,"oString":"","oBytes":"","oMode":"MODE_UNSPECIFIED","oLeaf":{}`, `"oFloat":-0.0`, `"oInt32":null`,
		`"rBool":[true,false]`, `"rInt32":[]`, `"rInt32":[1,2,]`, `"rInt32":[,1]`, `"rInt32":[1 2]`, `"rInt32":1`, `"rInt32":null`, `"rInt32":[null]`, `"rInt32":{}`, `"rInt32":[1`,
		`"rInt32":[0,-1,2147483647,-2147483648]`, `"rSint32":[0,-1,2147483647,-2147483648]`, `"rSfixed32":[0,-1]`, `"rUint32":[0,4294967295]`, `"rFixed32":[4294967295]`,
		`"rInt64":["0","-1","9223372036854775807","-9223372036854775808"]`, `"rSint64":["-9223372036854775808",9223372036854775807]`, `"rSfixed64":[-1]`,
		`"rUint64":["18446744073709551615",18446744073709551615]`, `"rFixed64":[1]`, `"rFloat":[1.5,"NaN",-0]`, `"rDouble":["Infinity","-Infinity","NaN",1e300]`,
		`"rString":["a","","b"]`, `"rBytes":["","aGk="]`, `"rLeaf":[{},{"name":"a"}]`, `"rLeaf":[null]`, `"rSub":[{"rSub":[{}]}]`, `"uInt32":[1,2,3]`, `"uDouble":[0,1.5]`,
		`"rUint64":[` + strings.Repeat(`"18446744073709551615",`, 40) + `0]`,
		`"mBool":{"true":"a","false":"b"}`, `"mBool":{"True":"a"}`, `"mBool":{"1":"a"}`, `"mInt32":{"1":2,"01":3}`, `"mInt32":{"1":2,"\u0031":3}`, `"mInt32":{"+1":2,"-0":3}`,
		`"mInt32":{"1":null}`, `"mInt32":{" 1":1}`, `"mInt32":{"1e1":1}`, `"mInt32":{"":1}`, `"mInt32":{"2147483648":1}`, `"mSint32":{"-1":-1}`, `"mSfixed32":{"-5":true}`,
		`"mUint32":{"4294967295":"1"}`, `"mUint32":{"+1":"1"}`, `"mUint32":{"-0":"1"}`, `"mFixed32":{"7":"aGk="}`, `"mInt64":{"9223372036854775807":1,"-9223372036854775808":2}`,
		`"mInt64":{"9223372036854775808":1}`, `"mSint64":{"-1":1.5}`, `"mSfixed64":{"-1":"MODE_ON"}`, `"mUint64":{"18446744073709551615":{}}`, `"mUint64":{"18446744073709551616":{}}`,
		`"mFixed64":{"0":"0"}`, `"mString":{"":"","a":"b"}`, `"mString":{"a":"b","a":"c"}`, `"mString":null`, `"mString":[]`, `"mString":{"a":1}`, `"mString":{"a":"b",}`, `"mString":{1:"b"}`,
		`"mSub":{"a":{"mSub":{"b":{}}}}`, `"mSub":{"a":null}`, `"mValue":{"a":null,"b":[1,{"c":"d"}],"c":{}}`, `"mNull":{"a":null,"b":"NULL_VALUE","c":0}`,
		`"mTime":{"a":"1970-01-01T00:00:00Z"}`, `"mAny":{"a":{}}`, `"mWrapped":{"a":"5","b":6}`,
		`"cInt32":0`, `"cInt32":1,"cString":"x"`, `"cInt32":null,"cString":"x"`, `"cString":"x","cInt32":null`, `"cInt32":1,"dString":"x"`, `"cLeaf":{}`, `"cLeaf":null`,
		`"cValue":null`, `"cNull":null`, `"cNull":"NULL_VALUE"`, `"cValue":null,"cNull":null`, `"cTime":"2020-02-29T12:00:00.123456789Z"`, `"cBool":false`, `"cBytes":""`,
		`"wTime":null`, `"wTime":{}`, `"wTime":1`, `"wStruct":{"a":null,"b":[],"c":{"d":1.5e3}}`, `"wStruct":{"a":1,"a":2}`, `"wStruct":null`, `"wStruct":[]`, `"wStruct":{}`,
		`"wValue":null`, `"wValue":"NaN"`, `"wValue":1e400`, `"wValue":-0`, `"wValue":[null,true,false,"x",{"a":[]}]`, `"wValue":{"a":{"a":1,"a":2}}`, `"wValue":tru`, `"wValue":[1,]`,
		`"wList":[]`, `"wList":[[],{},null]`, `"wList":null`, `"wList":{}`, `"wNull":null`, `"wNull":"NULL_VALUE"`, `"wNull":0`, `"wNull":5`, `"owNull":null`, `"rwNull":[null,"NULL_VALUE"]`, `"rwNull":null`, `"rwValue":null`, `"rwValue":[null,1]`, `"rwList":[[1],[]]`, `"rwStruct":[{},{"a":1}]`,
		`"wEmpty":{}`, `"wEmpty":null`, `"wEmpty":{"a":1}`, `"wEmpty":[]`, `"rwEmpty":[{},{}]`, `"rwString":["","a"]`, `"rwString":[null]`,
		`"wBool":false`, `"wInt32":0`, `"wInt32":"7"`, `"wInt64":"-5"`, `"wUint32":1`, `"wUint64":18446744073709551615`, `"wFloat":"NaN"`, `"wDouble":0.0`, `"wDouble":-0.0`, `"wString":""`, `"wBytes":"aGk"`, `"wInt32":{"value":1}`, `"wInt32":null`,
		`"wMask":""`, `"wMask":"a,bC.dE"`, `"wMask":" a "`, `"wMask":"a_b"`, `"wMask":"a,"`, `"wMask":"a,,b"`, `"wMask":"a b"`, `"wMask":["a"]`, `"wMask":"1a"`, `"wMask":"A"`, `"wMask":"a..b"`, `"wMask":"é"`, `"wMask":"` + strings.Repeat("a", 200) + `,b"`,
		`"weird \"name\" \\ é":"x"`, `"weird \u0022name\u0022 \\ \u00e9":"x"`, `"clashB":"x"`, `"clash_a":"x"`, `"clash_c":"x","other":"y"`, `"fieldname1":"a","fieldName2":"b","FieldName3":"c","fieldName4":"d","FieldName7":"e"`, `"field_name2":"a","_field_name3":"b","field__name4_":"c"`, `"far":"x"`, `"fieldName3":"a"`,
		`"[transom.codectest.v1.ext_string]":"x"`, `"[`, `"[]":1`, `"[google.protobuf.Any]":1`,
	}
	for _, s := range numberTexts {
		for _, f := range []string{"fInt32", "fSint32", "fSfixed32", "fUint32", "fFixed32", "fInt64", "fSint64", "fSfixed64", "fUint64", "fFixed64", "fFloat", "fDouble", "oInt32", "fMode", "wValue", "wInt64"} {
			t = append(t, fmt.Sprintf(`"%s":%s`, f, s), fmt.Sprintf(`"%s":"%s"`, f, s))
		}
	}
	for _, s := range timeTexts {
		t = append(t, fmt.Sprintf(`"wTime":"%s"`, s))
	}
	for _, s := range durationTexts {
		t = append(t, fmt.Sprintf(`"wDuration":"%s"`, s))
	}
	for _, s := range anyTexts {
		t = append(t, fmt.Sprintf(`"wAny":%s`, strings.ReplaceAll(s, "$", `type.googleapis.com/`)))
	}
	return t
}

var numberTexts = []string{
	"0", "-0", "1", "-1", "12345678", "123456789012345678", "1234567890123456789", "2147483647", "2147483648", "-2147483648", "-2147483649", "4294967295", "4294967296",
	"9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "18446744073709551615", "18446744073709551616", "99999999999999999999999",
	"1.0", "1.5", "1e3", "1E+3", "100e-2", "42949672.95e2", "0.1e1", "1e999999999", "1e99999999999999", "1e-999999999", "0e99999999999", "0.0e5", "-0.0", "-0e1", "10e-1", "15e-1", "1e20", "1e19", "0.00001e5",
	"01", "+1", ".5", "1.", "1e", "1e+", "-", "--1", "0x1", "1_000", "1a", "", " 1", "1 ", "NaN", "Infinity", "-Infinity", "nan", "inf", "null", "true",
	"3.5e38", "3.4028235e38", "3.4028236e38", "1e309", "1.7976931348623157e308", "1e-46", "5e-324", "0.1", "0.30000000000000004", "16777217", "9007199254740993", "123456.789", "1.1", "0.000001", "0.0000001", "1e21", "1e20", "123456789012345680000", "3.4e38", "1.17549435e-38",
}

var timeTexts = []string{
	"1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "0000-12-31T23:59:59Z", "10000-01-01T00:00:00Z", "1969-12-31T23:59:59.5Z", "2020-02-29T00:00:00Z", "2021-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2000-02-29T01:02:03Z",
	"2020-01-01T00:00:00+01:00", "2020-01-01T00:00:00-23:59", "2020-01-01T00:00:00+24:00", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "2020-01-01T00:00:00.1234567890Z", "2020-01-01T00:00:00.1Z", "2020-01-01T00:00:00,5Z", "2020-01-01T1:00:00Z", "2020-1-01T00:00:00Z",
	"2020-01-01t00:00:00z", "2020-01-01 00:00:00Z", "2020-01-01T00:00:00", "2020-01-01T24:00:00Z", "2020-01-01T23:60:00Z", "2020-01-01T23:59:60Z", "2020-13-01T00:00:00Z", "2020-00-01T00:00:00Z", "2020-04-31T00:00:00Z", "2020-01-00T00:00:00Z", "", "x", "2020-01-01T00:00:00.Z", "2020-01-01T00:00:00.000Z", "2024-12-31T23:59:59.999Z", "2020-01-01T00:00:00\\u005a",
}

var durationTexts = []string{
	"1s", "0s", "-0s", "1.5s", "-0.5s", ".5s", "1.s", ".s", "-.s", "+1s", "s", "-s", "01s", "1", "1.0000000001s", "1.123456789s", "315576000000s", "315576000001s", "-315576000000.999999999s", "1e3s", " 1s", "99999999999999999999s", "9223372036854775808s", "1.5.5s", "--1s", "0.000000001s", "1,5s", "",
}

var anyTexts = []string{
	`{}`, `null`, `[]`, `{"@type":"$transom.codectest.v1.Leaf"}`, `{"@type":"$transom.codectest.v1.Leaf","name":"x","n":"5"}`, `{"name":"x","@type":"$transom.codectest.v1.Leaf"}`,
	`{"@type":"$transom.codectest.v1.Leaf","@type":"$transom.codectest.v1.Leaf"}`, `{"name":"x","@type":"$transom.codectest.v1.Leaf","@type":"$x"}`, `{"@type":""}`, `{"@type":1}`, `{"name":"x"}`, `{"@type":"$no.Such"}`, `{"@type":"transom.codectest.v1.Leaf"}`, `{"@type":"/transom.codectest.v1.Leaf"}`,
	`{"@type":"$transom.codectest.v1.Leaf","nope":1}`, `{"@type":"$transom.codectest.v1.Leaf",}`, `{"\u0040type":"$transom.codectest.v1.Leaf","name":"x"}`, `{"name":"x","\u0040type":"$transom.codectest.v1.Leaf"}`, `{"@type":"$transom.codectest.v1.Leaf","\u0040type":"x"}`,
	`{"@type":"$google.protobuf.Timestamp","value":"1970-01-01T00:00:00Z"}`, `{"value":"1s","@type":"$google.protobuf.Duration"}`, `{"@type":"$google.protobuf.Duration"}`, `{"@type":"$google.protobuf.Duration","value":"1s","value":"1s"}`, `{"@type":"$google.protobuf.Duration","value":"1s","x":1}`,
	`{"@type":"$google.protobuf.Empty"}`, `{"@type":"$google.protobuf.Empty","value":{}}`, `{"@type":"$google.protobuf.Empty","value":null}`, `{"@type":"$google.protobuf.Empty","x":1}`, `{"@type":"$google.protobuf.Value","value":null}`, `{"@type":"$google.protobuf.Struct","value":{"a":[1]}}`, `{"@type":"$google.protobuf.ListValue","value":[1,2]}`, `{"@type":"$google.protobuf.Int64Value","value":"5"}`, `{"@type":"$google.protobuf.StringValue","value":null}`, `{"@type":"$google.protobuf.FieldMask","value":"a.b,cD"}`,
	`{"@type":"$google.protobuf.Any","value":{"@type":"$google.protobuf.Any","value":{"@type":"$transom.codectest.v1.Leaf","name":"deep"}}}`, `{"value":{"@type":"$transom.codectest.v1.Leaf","name":"deep"},"@type":"$google.protobuf.Any"}`, `{"@type":"$google.protobuf.Any","value":{}}`,
	`{"@type":"$transom.codectest.v1.Everything","wAny":{"@type":"$transom.codectest.v1.Everything","fSub":{"fInt32":1},"fString":"x"},"mString":{"a":"b"}}`, `{"@type":"$transom.codectest.v1.Strict"}`, `{"@type":"$transom.codectest.v1.Strict","a":"x"}`, `{"@type":"$transom.codectest.v1.Leaf","codes":[1,2,3],"name":"` + strings.Repeat("y", 200) + `"}`, `{"@type" "x"}`, `{"@type":"$transom.codectest.v1.Leaf" "x"}`, `{"a":1 "@type":"x"}`, `{"@type":"$transom.codectest.v1.Leaf","name":1}`,
}

func TestTexts(t *testing.T) {
	c := New()
	for _, discard := range []bool{false, true} {
		p := newPair(t, c, codec.Root{Message: everything()}, codec.Options{DiscardUnknown: discard})
		for _, text := range texts() {
			for _, whole := range []string{
				"{" + text + "}", " {\n" + text + "\t} ", "{" + text, `{"fSub":{` + text + `},"rSub":[{"fBool":true},{` + text + `}]}`, "{" + text + `,"far":"1"}`, `{"mSub":{"x":{` + text + `}}}`, `{"cSub":{` + text + `}}`,
				`{"wAny":{"@type":"x/transom.codectest.v1.Everything",` + text + `}}`, `{"wAny":{` + text + `,"@type":"x/transom.codectest.v1.Everything"}}`, `{"rwAny":[` + text + `]}`,
			} {
				if err := p.in([]byte(whole)); err != nil {
					t.Errorf("discard=%v %.300s\n\t%v", discard, whole, err)
				}
			}
		}
	}
}

func TestWholeTexts(t *testing.T) {
	c := New()
	for _, m := range []protoreflect.ProtoMessage{&testpb.Everything{}, &testpb.Legacy{}, &testpb.Strict{}, &testpb.Modern{}, &testpb.Wide{}} {
		p := newPair(t, c, codec.Root{Message: m.ProtoReflect().Descriptor()}, codec.Options{})
		for _, text := range []string{
			``, ` `, `{}`, `{}{}`, `{} x`, `null`, `[]`, `"x"`, `1`, "\ufeff{}", `{`, `}`, `{"a"`, `{,}`, "{}\x00", "\x00", `// x
{}`, `{"a":"x"}`, `{"a":"x","n":1}`, `{"a":"x","n":null}`, `{"a":"x","n":0,"next":{}}`, `{"a":"x","n":0,"next":{"a":"","n":0}}`,
			`{"i":0,"s":"","closed":"ZERO","closeds":["FIRST",99],"packed":[1,2],"unpacked":[3,4],"b":""}`, `{"grp":{"a":"x","inner":{"a":"y"},"legacy":{"grp":{}}}}`, `{"Grp":{"a":"x"}}`, `{"many":[{"n":1},{}]}`,
			`{"closedMap":{"a":"ONE","b":0}}`, `{"p":"x","picked":{}}`, `{"picked":{"a":""}}`, `{"Picked":{"a":""}}`, `{"strict":{}}`, `{"stricts":[{"a":"","n":1},{"a":""}]}`, `{"strictMap":{"a":{"a":"","n":1}}}`, `{"strictMap":{"a":{"n":1}}}`,
			`{"[transom.codectest.v1.ext_string]":"x","[transom.codectest.v1.ext_list]":[1,2],"[transom.codectest.v1.ext_strict]":{"a":"x","n":1},"[transom.codectest.v1.ext_closed]":"SECOND","[transom.codectest.v1.ext_legacy]":[{"i":1},{}],"[transom.codectest.v1.Scope.ext_scoped]":"5"}`,
			`{"[transom.codectest.v1.ext_string]":"x","[transom.codectest.v1.ext_string]":"y"}`, `{"[transom.codectest.v1.nope]":"x"}`, `{"[transom.codectest.v1.ext_strict]":{}}`, `{"[transom.codectest.v1.ext_string]":null}`, `{"ext_string":"x"}`,
			`{"explicit":0,"implicit":0,"legacy":"","packed":[1],"expanded":[1,2],"delimited":{"legacy":"x"},"delimiteds":[{"legacy":"x"},{"legacy":""}]}`, `{"explicit":1}`, `{"legacy":"x","q":{"legacy":"y"},"shut":"SHUT_B","shuts":[0,7,9],"shutMap":{"a":7},"modernMap":{"a":{"legacy":"z"}},"implicitString":"","implicitDouble":-0.0,"lax":"é","laxMap":{"é":"x"}}`,
			`{"last":"x","f1":1,"f70":70,"a0":"x","b69":5}`, `{"last":"x","a0":"x","b0":5}`, `{"last":"x","a69":"x","b69":5}`, `{"f70":1,"f70":2,"last":""}`, `{"last":"","subs":[{"last":"","f65":1},{"last":"","a65":"x"}]}`, `{"last":"","subs":[{"f65":1}]}`, `{"last":"","strict":{"a":"x"}}`,
		} {
			if err := p.in([]byte(text)); err != nil {
				t.Errorf("%T %s\n\t%v", m, text, err)
			}
		}
	}
}

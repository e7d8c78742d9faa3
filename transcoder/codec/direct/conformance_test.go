package direct

import (
	"testing"

	"github.com/transomhq/transom/transcoder/codec"
)

// The JSON part of the protobuf conformance suite, put down anew from what its
// cases mean: a text that is read and what it is written as, or "" where the
// suite demands an error. A case of its own that we answer otherwise, as
// protojson does, says so.
func TestConformance(t *testing.T) {
	c := New()
	in, err := c.Compile(codec.Root{Message: everything()}, codec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	lax, err := c.Compile(codec.Root{Message: everything()}, codec.Options{DiscardUnknown: true})
	if err != nil {
		t.Fatal(err)
	}
	run := func(t *testing.T, plan codec.Plan, cases [][2]string) {
		for _, tc := range cases {
			text, want := tc[0], tc[1]
			wire, err := plan.AppendWire(nil, []byte(text))
			if err != nil {
				if want != "" {
					t.Errorf("%s: %v", text, err)
				}
				continue
			}
			got, err := in.AppendJSON(nil, wire)
			if err != nil || string(got) != want {
				t.Errorf("%s\n got %s, %v\nwant %s", text, got, err, want)
			}
		}
	}
	t.Run("syntax", func(t *testing.T) { run(t, in, syntaxCases) })
	t.Run("names", func(t *testing.T) { run(t, in, nameCases) })
	t.Run("scalars", func(t *testing.T) { run(t, in, scalarCases) })
	t.Run("shapes", func(t *testing.T) { run(t, in, shapeCases) })
	t.Run("well-known types", func(t *testing.T) { run(t, in, wellKnownCases) })
	t.Run("unknown", func(t *testing.T) { run(t, lax, unknownCases) })
}

var syntaxCases = [][2]string{
	{`{}`, `{}`},                                   // HelloWorld and empty messages
	{`{"fInt32": 1,}`, ``},                         // TrailingCommaInAnObject
	{`{"fInt32": 1, }`, ``},                        // ... WithSpace
	{"{\"fInt32\": 1,\n}", ``},                     // ... WithNewlines
	{`{"fInt32":1 "fUint32":2}`, ``},               // MissingCommaOneLine
	{"{\"fInt32\":1\n\"fUint32\":2}", ``},          // MissingCommaMultiline
	{`{fInt32: 1}`, ``},                            // NameNotQuoted
	{`{'fInt32': 1}`, ``},                          // names in single quotes
	{`{"fString": 'a'}`, ``},                       // StringFieldSingleQuoteValue
	{"{\"fString\": 'a\"}", ``},                    // ... SingleQuoteBoth
	{`{"fInt32": 1} {}`, ``},                       // text after the value
	{"{\n\"fInt32\" \t:\r 1\n}\n", `{"fInt32":1}`}, // white space anywhere
	{`{"fInt32": 1 // c` + "\n}", ``},              // comments
	{`{"rInt32": [1,2,3,]}`, ``},                   // RepeatedFieldTrailingComma
	{`{"rInt32": [1,2,3,4 ,]}`, ``},                // ... WithSpace
	{`{"rInt32": ,[1]}`, ``},
}

var nameCases = [][2]string{
	{`{"fieldname1":"1","fieldName2":"2","FieldName3":"3","fieldName4":"4"}`, `{"fieldname1":"1","fieldName2":"2","FieldName3":"3","fieldName4":"4"}`}, // FieldNameInLowerCamelCase
	{`{"field_name2":"2","_field_name3":"3"}`, `{"fieldName2":"2","FieldName3":"3"}`},                                                                  // OriginalProtoFieldName
	{`{"f\u0049nt32":1}`, `{"fInt32":1}`},                // FieldNameEscaped
	{`{"FieldName7":"7"}`, `{"FieldName7":"7"}`},         // FieldNameWithMixedCases
	{`{"fInt32":1,"fInt32":2}`, ``},                      // FieldNameDuplicate
	{`{"fInt32":1,"f_int32":2}`, ``},                     // FieldNameDuplicateDifferentCasing
	{`{"unknown":1}`, ``},                                // unknown fields are refused by default
	{`{"cInt32":1,"cString":"x"}`, ``},                   // OneofFieldDuplicate
	{`{"cInt32":null,"cString":"x"}`, `{"cString":"x"}`}, // OneofFieldNullFirst
	{`{"cString":"x","cInt32":null}`, `{"cString":"x"}`}, // OneofFieldNullSecond
	{`{"cInt32":0}`, `{"cInt32":0}`},                     // OneofZeroUint32 and its kin
	{`{"cString":""}`, `{"cString":""}`},
	{`{"cBytes":""}`, `{"cBytes":""}`},
	{`{"cBool":false}`, `{"cBool":false}`},
	{`{"cMode":"MODE_UNSPECIFIED"}`, `{"cMode":"MODE_UNSPECIFIED"}`},
	{`{"cLeaf":{}}`, `{"cLeaf":{}}`},
	{`{"cNull":null}`, `{"cNull":null}`}, // OneofFieldNullValue: present
}

var scalarCases = [][2]string{
	{`{"fInt32":2147483647}`, `{"fInt32":2147483647}`}, {`{"fInt32":-2147483648}`, `{"fInt32":-2147483648}`},
	{`{"fUint32":4294967295}`, `{"fUint32":4294967295}`},
	{`{"fInt64":"9223372036854775807"}`, `{"fInt64":"9223372036854775807"}`}, {`{"fInt64":-9223372036854775808}`, `{"fInt64":"-9223372036854775808"}`},
	{`{"fUint64":"18446744073709551615"}`, `{"fUint64":"18446744073709551615"}`},
	{`{"fInt64":9223372036854774784}`, `{"fInt64":"9223372036854774784"}`}, // Int64FieldMaxValueNotQuoted
	{`{"fInt32":"2147483647"}`, `{"fInt32":2147483647}`},                   // Int32FieldStringValue
	{`{"fInt32":"12\u0033"}`, `{"fInt32":123}`},                            // ... Escaped
	{`{"fInt32":1e5}`, `{"fInt32":100000}`}, {`{"fInt32":1e+5}`, `{"fInt32":100000}`}, {`{"fInt32":100000.000}`, `{"fInt32":100000}`},
	{`{"fInt32":2.147483647e9}`, `{"fInt32":2147483647}`}, {`{"fInt32":-2.147483648e9}`, `{"fInt32":-2147483648}`}, {`{"fUint32":4.294967295e9}`, `{"fUint32":4294967295}`},
	{`{"fInt32":2147483648}`, ``}, {`{"fInt32":-2147483649}`, ``}, {`{"fUint32":4294967296}`, ``}, {`{"fUint32":-1}`, ``},
	{`{"fInt64":"9223372036854775808"}`, ``}, {`{"fInt64":"-9223372036854775809"}`, ``}, {`{"fUint64":"18446744073709551616"}`, ``}, {`{"fUint64":"-1"}`, ``},
	{`{"fInt32":0.5}`, ``}, {`{"fInt32":"0.5"}`, ``}, {`{"fInt64":"0.5"}`, ``}, // ...NotInteger
	{`{"fInt32":" 1"}`, ``}, {`{"fInt32":"1 "}`, ``}, {`{"fInt32":"abc"}`, ``}, {`{"fInt32":""}`, ``}, {`{"fInt32":"1,"}`, ``}, {`{"fInt32":"12abc"}`, ``}, // Int32FieldStringValue...
	{`{"fInt32":01}`, ``}, {`{"fInt32":-01}`, ``}, {`{"fInt32":+1}`, ``}, {`{"fInt32": 1 2}`, ``}, {`{"fInt32":--1}`, ``}, {`{"fInt32":true}`, ``}, // LeadingZero, PlusSign
	{`{"fInt32":-0}`, `{}`},
	{`{"fBool":true}`, `{"fBool":true}`}, {`{"fBool":false}`, `{}`}, {`{"fBool":0}`, ``}, {`{"fBool":"true"}`, ``}, {`{"fBool":True}`, ``},
	{`{"fFloat":1.175494e-38}`, `{"fFloat":1.175494e-38}`}, {`{"fFloat":3.402823e+38}`, `{"fFloat":3.402823e+38}`}, {`{"fFloat":"1"}`, `{"fFloat":1}`},
	{`{"fFloat":"NaN"}`, `{"fFloat":"NaN"}`}, {`{"fFloat":"Infinity"}`, `{"fFloat":"Infinity"}`}, {`{"fFloat":"-Infinity"}`, `{"fFloat":"-Infinity"}`},
	{`{"fFloat":NaN}`, ``}, {`{"fFloat":Infinity}`, ``}, {`{"fFloat":-Infinity}`, ``}, {`{"fFloat":3.502823e+38}`, ``}, {`{"fFloat":-3.502823e+38}`, ``}, {`{"fFloat":"abc"}`, ``}, {`{"fFloat":"inf"}`, ``},
	{`{"fDouble":2.22507e-308}`, `{"fDouble":2.22507e-308}`}, {`{"fDouble":-2.22507e-308}`, `{"fDouble":-2.22507e-308}`}, {`{"fDouble":1.79769e+308}`, `{"fDouble":1.79769e+308}`}, {`{"fDouble":"1"}`, `{"fDouble":1}`},
	{`{"fDouble":"NaN"}`, `{"fDouble":"NaN"}`}, {`{"fDouble":NaN}`, ``}, {`{"fDouble":1.89769e+308}`, ``}, {`{"fDouble":-1.89769e+308}`, ``}, {`{"fDouble":-0.0}`, `{"fDouble":-0}`},
	{`{"fMode":"MODE_ON"}`, `{"fMode":"MODE_ON"}`}, {`{"fMode":MODE_ON}`, ``}, {`{"fMode":0}`, `{}`}, {`{"fMode":1}`, `{"fMode":"MODE_ON"}`}, {`{"fMode":123}`, `{"fMode":123}`}, {`{"fMode":"MODE_ALSO_ON"}`, `{"fMode":"MODE_ON"}`}, {`{"fMode":-3}`, `{"fMode":"MODE_NEGATIVE"}`},
	{`{"fMode":"mode_on"}`, ``}, // EnumFieldWithAliasLowerCase: protojson is case sensitive
	{`{"fString":"Hello world!"}`, `{"fString":"Hello world!"}`}, {`{"fString":"谷歌"}`, `{"fString":"谷歌"}`}, {`{"fString":"\"\\\/\b\f\n\r\t"}`, `{"fString":"\"\\/\b\f\n\r\t"}`},
	{`{"fString":"\u8C37\u6B4C"}`, `{"fString":"谷歌"}`}, {`{"fString":"\u8c37\u6b4c"}`, `{"fString":"谷歌"}`}, {`{"fString":"\uD83D\uDE01"}`, `{"fString":"😁"}`}, {`{"fString":"\u0000"}`, `{"fString":"\u0000"}`},
	{`{"fString":"\U8C37"}`, ``}, {`{"fString":"\u8C3"}`, ``}, {`{"fString":"\uD83D"}`, ``}, {`{"fString":"\uDE01\uD83D"}`, ``}, {`{"fString":"\uDE01"}`, ``}, {`{"fString":12345}`, ``}, {`{"fString":"`, ``},
	{`{"fBytes":"AQI="}`, `{"fBytes":"AQI="}`}, {`{"fBytes":"-_"}`, `{"fBytes":"+w=="}`}, {`{"fBytes":"AQI"}`, `{"fBytes":"AQI="}`}, {`{"fBytes":"!@#$"}`, ``},
	{`{"fSub":{"fInt32":1234}}`, `{"fSub":{"fInt32":1234}}`}, {`{"fSub":1}`, ``},
}

var shapeCases = [][2]string{
	{`{"rInt32":[1,2,3,4]}`, `{"rInt32":[1,2,3,4]}`}, {`{"rMode":["MODE_ON","MODE_OFF"]}`, `{"rMode":["MODE_ON","MODE_OFF"]}`}, {`{"rString":["Hello","world"]}`, `{"rString":["Hello","world"]}`},
	{`{"rBytes":["AAEC","AQI="]}`, `{"rBytes":["AAEC","AQI="]}`}, {`{"rLeaf":[{"n":1234},{"n":"5678"}]}`, `{"rLeaf":[{"n":"1234"},{"n":"5678"}]}`},
	{`{"rInt32":[1,"a"]}`, ``}, {`{"rInt32":[1,[]]}`, ``}, {`{"rString":[1]}`, ``}, {`{"rLeaf":[1]}`, ``}, {`{"rInt32":12345}`, ``}, // RepeatedFieldWrongElementType...
	{`{"rInt32":[1,null,2]}`, ``}, {`{"rString":[null]}`, ``}, {`{"rLeaf":[null]}`, ``}, {`{"mInt32":{"1":null}}`, ``}, // RepeatedFieldPrimitiveElementIsNull, MapFieldValueIsNull
	{`{"mInt32":{"1":2,"3":4}}`, `{"mInt32":{"1":2,"3":4}}`}, {`{"mUint64":{"1":{}}}`, `{"mUint64":{"1":{}}}`}, {`{"mBool":{"true":"a","false":"b"}}`, `{"mBool":{"false":"b","true":"a"}}`}, {`{"mString":{"":"x"}}`, `{"mString":{"":"x"}}`},
	{`{"mInt32":{"\u0031":2}}`, `{"mInt32":{"1":2}}`}, {`{"mBool":{"tr\u0075e":"x"}}`, `{"mBool":{"true":"x"}}`}, {`{"mInt64":{"\u0031":2}}`, `{"mInt64":{"1":2}}`}, // MapKeyEscaped
	{`{"mInt32":{1:2}}`, ``}, {`{"mBool":{true:"x"}}`, ``}, {`{"mInt32":{"a":1}}`, ``}, {`{"mInt32":{"1":1,"1":2}}`, ``}, {`{"mString":[]}`, ``}, // keys must be strings, and each once
	{`{"fInt32":null,"fString":null,"fBytes":null,"fMode":null,"fSub":null,"rInt32":null,"rLeaf":null,"mInt32":null,"wTime":null,"wInt32":null,"wAny":null,"wStruct":null}`, `{}`}, // AllFieldAcceptNull
	{`{"oInt32":0}`, `{"oInt32":0}`}, {`{"oString":""}`, `{"oString":""}`}, {`{"rInt32":[],"mInt32":{}}`, `{}`},
}

var wellKnownCases = [][2]string{
	{`{"wBool":false}`, `{"wBool":false}`}, {`{"wInt32":0}`, `{"wInt32":0}`}, {`{"wUint32":0}`, `{"wUint32":0}`}, {`{"wInt64":0}`, `{"wInt64":"0"}`}, {`{"wUint64":"0"}`, `{"wUint64":"0"}`}, {`{"wFloat":0}`, `{"wFloat":0}`}, {`{"wDouble":0}`, `{"wDouble":0}`}, {`{"wString":""}`, `{"wString":""}`}, {`{"wBytes":""}`, `{"wBytes":""}`}, {`{"rwString":["","AQI="]}`, `{"rwString":["","AQI="]}`},
	{`{"wDuration":"-315576000000.999999999s"}`, `{"wDuration":"-315576000000.999999999s"}`}, {`{"wDuration":"315576000000.999999999s"}`, `{"wDuration":"315576000000.999999999s"}`}, {`{"wDuration":"0.000s"}`, `{"wDuration":"0s"}`}, {`{"wDuration":"-0.5s"}`, `{"wDuration":"-0.500s"}`},
	{`{"wDuration":"1.010s"}`, `{"wDuration":"1.010s"}`}, {`{"wDuration":"1.000010s"}`, `{"wDuration":"1.000010s"}`}, {`{"wDuration":"1.000000010s"}`, `{"wDuration":"1.000000010s"}`}, {`{"wDuration":"1"}`, ``}, {`{"wDuration":"-315576000001.000000000s"}`, ``}, {`{"wDuration":"315576000001.000000000s"}`, ``}, {`{"wDuration":1}`, ``},
	{`{"wTime":"0001-01-01T00:00:00Z"}`, `{"wTime":"0001-01-01T00:00:00Z"}`}, {`{"wTime":"9999-12-31T23:59:59.999999999Z"}`, `{"wTime":"9999-12-31T23:59:59.999999999Z"}`}, {`{"wTime":"1970-01-01T00:00:00.010Z"}`, `{"wTime":"1970-01-01T00:00:00.010Z"}`}, {`{"wTime":"1970-01-01T00:00:00.000010Z"}`, `{"wTime":"1970-01-01T00:00:00.000010Z"}`}, {`{"wTime":"1970-01-01T00:00:00.000000010Z"}`, `{"wTime":"1970-01-01T00:00:00.000000010Z"}`},
	{`{"wTime":"1969-12-31T16:00:00-08:00"}`, `{"wTime":"1970-01-01T00:00:00Z"}`}, {`{"wTime":"1970-01-01T08:00:01+08:00"}`, `{"wTime":"1970-01-01T00:00:01Z"}`}, {`{"wTime":"0000-01-01T00:00:00Z"}`, ``}, {`{"wTime":"10000-01-01T00:00:00.00Z"}`, ``}, {`{"wTime":"0001-01-01 00:00:00Z"}`, ``}, {`{"wTime":"0001-01-01t00:00:00Z"}`, ``}, {`{"wTime":"0001-01-01T00:00:00z"}`, ``}, {`{"wTime":"0001-01-01T00:00:00"}`, ``}, {`{"wTime":"2021-02-29T00:00:00Z"}`, ``},
	{`{"wMask":"foo,barBaz"}`, `{"wMask":"foo,barBaz"}`}, {`{"wMask":"foo,bar_bar"}`, ``}, {`{"wMask":""}`, `{"wMask":""}`},
	{`{"wStruct":{"nullValue":null,"intValue":1234,"boolValue":true,"doubleValue":1234.5678,"stringValue":"Hello","listValue":[1234,"5678"],"objectValue":{"value":0}}}`, `{"wStruct":{"boolValue":true,"doubleValue":1234.5678,"intValue":1234,"listValue":[1234,"5678"],"nullValue":null,"objectValue":{"value":0},"stringValue":"Hello"}}`},
	{`{"wStruct":{"listValue":[]}}`, `{"wStruct":{"listValue":[]}}`}, {`{"wValue":1}`, `{"wValue":1}`}, {`{"wValue":null}`, `{"wValue":null}`}, {`{"wValue":"x"}`, `{"wValue":"x"}`}, {`{"wValue":{"v":0}}`, `{"wValue":{"v":0}}`}, {`{"wValue":[0,"x"]}`, `{"wValue":[0,"x"]}`}, {`{"wList":[0,"x"]}`, `{"wList":[0,"x"]}`}, {`{"wNull":null}`, `{}`}, {`{"rwList":[["a"]]}`, `{"rwList":[["a"]]}`}, {`{"rwValue":["a",null]}`, `{"rwValue":["a",null]}`},
	{`{"wAny":{"@type":"type.googleapis.com/transom.codectest.v1.Leaf","name":"x"}}`, `{"wAny":{"@type":"type.googleapis.com/transom.codectest.v1.Leaf","name":"x"}}`}, {`{"wAny":{"name":"x","@type":"type.googleapis.com/transom.codectest.v1.Leaf"}}`, `{"wAny":{"@type":"type.googleapis.com/transom.codectest.v1.Leaf","name":"x"}}`},
	{`{"wAny":{"@type":"type.googleapis.com/google.protobuf.Any","value":{"@type":"type.googleapis.com/transom.codectest.v1.Leaf","name":"x"}}}`, `{"wAny":{"@type":"type.googleapis.com/google.protobuf.Any","value":{"@type":"type.googleapis.com/transom.codectest.v1.Leaf","name":"x"}}}`},
	{`{"wAny":{"@type":"type.googleapis.com/google.protobuf.Int32Value","value":1}}`, `{"wAny":{"@type":"type.googleapis.com/google.protobuf.Int32Value","value":1}}`}, {`{"wAny":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1.500s"}}`, `{"wAny":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1.500s"}}`}, {`{"wAny":{"@type":"type.googleapis.com/google.protobuf.Struct","value":{"foo":1}}}`, `{"wAny":{"@type":"type.googleapis.com/google.protobuf.Struct","value":{"foo":1}}}`},
	{`{"wAny":{"@type":"type.googleapis.com/google.protobuf.Value","value":"foo"}}`, `{"wAny":{"@type":"type.googleapis.com/google.protobuf.Value","value":"foo"}}`}, {`{"wAny":{}}`, `{"wAny":{}}`}, {`{"wAny":{"@type":"not_a_url"}}`, ``}, {`{"wAny":{"@type":""}}`, ``}, {`{"wAny":{"@type":"/"}}`, ``},
}

var unknownCases = [][2]string{
	{`{"unknown":1}`, `{}`}, {`{"unknown":"a"}`, `{}`}, {`{"unknown":true}`, `{}`}, {`{"unknown":null}`, `{}`}, {`{"unknown":[]}`, `{}`}, {`{"unknown":{"x":1}}`, `{}`}, {`{"unknown":[{"a":[1.5e3]}],"fInt32":1}`, `{"fInt32":1}`}, // IgnoreUnknownJson...
	{`{"fMode":"UNKNOWN"}`, `{}`}, {`{"oMode":"UNKNOWN"}`, `{}`}, {`{"rMode":["MODE_ON","UNKNOWN","MODE_OFF"]}`, `{"rMode":["MODE_ON","MODE_OFF"]}`}, {`{"mMode":{"a":"MODE_ON","b":"UNKNOWN"}}`, `{"mMode":{"a":"MODE_ON"}}`}, // IgnoreUnknownEnumStringValue...
	{`{"unknown":01}`, ``}, {`{"unknown":tru}`, ``}, {`{"unknown":"\ud800"}`, ``}, {`{"unknown":[1,]}`, ``}, {`{"unknown"}`, ``}, // still JSON
	{`{"fInt32":"abc"}`, ``}, {`{"wAny":{"name":"x"}}`, `{"wAny":{}}`},
}

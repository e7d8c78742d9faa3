package router_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	"github.com/transomhq/transom/router"
	"github.com/transomhq/transom/router/httprule"
	"github.com/transomhq/transom/rpc"
)

// bindings reads "METHOD template" lines. Their origin is "api.proto:" and the
// line number.
func bindings(lines ...string) []*rpc.Binding {
	var out []*rpc.Binding
	for i, line := range lines {
		method, template, _ := strings.Cut(line, " ")
		b := &rpc.Binding{ID: i, HTTPMethod: method, Template: template, Origin: fmt.Sprintf("api.proto:%d", i+1)}
		if t, err := httprule.Parse(template); err == nil {
			for _, v := range t.Variables {
				b.Variables = append(b.Variables, rpc.Variable{Path: v.Path, Multi: v.Multi})
			}
		}
		out = append(out, b)
	}
	return out
}

func table(t testing.TB, lines ...string) *router.Table {
	t.Helper()
	tab, err := router.New(bindings(lines...), router.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

// ask returns what a request means: "METHOD template name=value ...", or the
// HTTP status of the refusal, for 405 with what is allowed.
func ask(t testing.TB, tab *router.Table, method, path string) string {
	t.Helper()
	var m rpc.Match
	err := tab.Match(method, path, &m)
	if err == nil {
		out := m.Binding.HTTPMethod + " " + m.Binding.Template
		if len(m.Values) != len(m.Binding.Variables) {
			t.Fatalf("%s %s: %d values for %d variables", method, path, len(m.Values), len(m.Binding.Variables))
		}
		for i, v := range m.Binding.Variables {
			out += " " + v.Path + "=" + m.Values[i]
		}
		return out
	}
	if m.Binding != nil || len(m.Values) != 0 {
		t.Fatalf("%s %s: refused, but the match is %+v", method, path, m)
	}
	if err.HTTPStatus == http.StatusMethodNotAllowed {
		return fmt.Sprint(err.HTTPStatus, " ", err.Header[1])
	}
	return fmt.Sprint(err.HTTPStatus)
}

func TestMatch(t *testing.T) {
	for _, tc := range []struct {
		name   string
		routes []string
		want   []string // "METHOD path -> answer"
	}{
		{"segments", []string{"GET /v1/shelves", "GET /v1/shelves/{id}", "GET /v1/shelves/{s}/books/{b}"}, []string{
			"GET /v1/shelves -> GET /v1/shelves",
			"GET /v1/shelves/7 -> GET /v1/shelves/{id} id=7",
			"GET /v1/shelves/7/books/8 -> GET /v1/shelves/{s}/books/{b} s=7 b=8",
			"GET /v1/shelves/7/books -> 404",
			"GET /v1 -> 404",
			"GET /v1/Shelves -> 404",
			"GET /v2/shelves -> 404",
			"GET / -> 404",
		}},
		{"escapes in values stay raw and do not split", []string{"GET /x/{id}", "GET /y/{name=b/*}", "GET /z/{name=**}"}, []string{
			"GET /x/a%2Fb -> GET /x/{id} id=a%2Fb",
			"GET /x/%252F -> GET /x/{id} id=%252F",
			"GET /x/100%25 -> GET /x/{id} id=100%25",
			"GET /x/%7E%c3%b6 -> GET /x/{id} id=%7E%c3%b6",
			"GET /x/ö -> GET /x/{id} id=ö",
			"GET /x/a+b -> GET /x/{id} id=a+b",
			"GET /y/b/a%2Fb -> GET /y/{name=b/*} name=b/a%2Fb",
			"GET /z/a/b%2fc/d -> GET /z/{name=**} name=a/b%2fc/d",
			"GET /x%2Fa -> 404",
		}},
		{"variables capture literals", []string{"GET /v1/{name=messages/*}", "GET /v1/{p=a/*/b/*}/c/{q}", "GET /w/{only=lit}"}, []string{
			"GET /v1/messages/7 -> GET /v1/{name=messages/*} name=messages/7",
			"GET /v1/a/1/b/2/c/3 -> GET /v1/{p=a/*/b/*}/c/{q} p=a/1/b/2 q=3",
			"GET /w/lit -> GET /w/{only=lit} only=lit",
			"GET /v1/other/7 -> 404",
		}},
		{"any number of segments", []string{"GET /a/{x=**}", "GET /b/{x=c/**}/z", "GET /d/**/{y=e/f}", "GET /g/**"}, []string{
			"GET /a -> GET /a/{x=**} x=",
			"GET /a/1 -> GET /a/{x=**} x=1",
			"GET /a/1/2/3 -> GET /a/{x=**} x=1/2/3",
			"GET /b/c/z -> GET /b/{x=c/**}/z x=c",
			"GET /b/c/1/2/z -> GET /b/{x=c/**}/z x=c/1/2",
			"GET /b/c/z/z -> GET /b/{x=c/**}/z x=c/z",
			"GET /b/z -> 404",
			"GET /b/c/1 -> 404",
			"GET /d/e/f -> GET /d/**/{y=e/f} y=e/f",
			"GET /d/1/2/e/f -> GET /d/**/{y=e/f} y=e/f",
			"GET /d/f -> 404",
			"GET /g -> GET /g/**",
		}},
		{"the root", []string{"GET /", "POST /{all=**}"}, []string{
			"GET / -> GET /",
			"POST / -> POST /{all=**} all=",
			"POST /a/b -> POST /{all=**} all=a/b",
			"GET /a -> 405 POST, OPTIONS",
		}},
		{"literals compare normalised", []string{"GET /~u/{id}", "GET /a%2fb/c", "GET /größe", "GET /a@b:c/d", "GET /%41bc"}, []string{
			"GET /~u/1 -> GET /~u/{id} id=1",
			"GET /%7Eu/1 -> GET /~u/{id} id=1",
			"GET /%7e%75/1 -> GET /~u/{id} id=1",
			"GET /a%2Fb/c -> GET /a%2fb/c",
			"GET /a%2fb/%63 -> GET /a%2fb/c",
			"GET /a/b/c -> 404",
			"GET /gr%C3%B6%C3%9fe -> GET /größe",
			"GET /gr%c3%b6ße -> GET /größe",
			"GET /größe -> GET /größe",
			"GET /a@b:c/d -> GET /a@b:c/d",
			"GET /a%40b:c/d -> 404",
			"GET /a@b%3Ac/d -> 404",
			"GET /Abc -> GET /%41bc",
		}},
		{"malformed paths are refused before routing", []string{"GET /x/{id}", "GET /y/**"}, []string{
			"GET /x/%zz -> 400", "GET /x/% -> 400", "GET /x/%4 -> 400", "GET /nowhere/%4 -> 400", "POST /x/%zz -> 400",
			"GET /x/%00 -> 400", "GET /x/a\x00 -> 400",
			"GET /x/%ff -> 400", "GET /x/\xff -> 400", "GET /x/%C3 -> 400", "GET /x/%C3%28 -> 400", "GET /x/%ED%A0%80 -> 400", "GET /x/%C0%AF -> 400",
			"GET /x/\xc3%b6 -> GET /x/{id} id=\xc3%b6",
			"GET /x/%F0%9F%98%80%F0%9F%98%80 -> GET /x/{id} id=%F0%9F%98%80%F0%9F%98%80",
			"GET //x/1 -> 400", "GET /x//1 -> 400", "GET // -> 400", "GET /x// -> 400", "GET /y//a -> 400",
			"GET /x/. -> 400", "GET /x/.. -> 400", "GET /./x -> 400", "GET /x/../x/1 -> 400", "GET /y/../x/1 -> 400",
			"GET /x/%2e -> 400", "GET /x/%2E%2e -> 400", "GET /x/.%2e -> 400", "GET /x/%2e./y -> 400",
			"GET /x/... -> GET /x/{id} id=...", "GET /x/.a -> GET /x/{id} id=.a", "GET /x/%2e%2e%2e -> GET /x/{id} id=%2e%2e%2e",
			"GET  -> 400", "GET x/1 -> 400", "GET * -> 400",
		}},
		{"a trailing slash binds nothing", []string{"GET /x/{id}", "GET /x", "GET /y/{p=**}"}, []string{
			"GET /x/ -> 404", "GET /x/1/ -> 404", "GET /y/ -> 404", "GET /y/a/ -> 404", "POST /x/ -> 404", "GET /x -> GET /x",
		}},
		{"precedence", []string{
			"GET /p/**", "GET /p/{b}", "GET /p/a", "GET /p/{b}/c", "GET /p/a/d", "GET /{a}/x/{b}", "GET /q/{c}", "GET /r/{x=**}/s/t", "GET /r/{x=**}/t", "GET /r/{x=**}",
		}, []string{
			"GET /p/a -> GET /p/a",
			"GET /p/b -> GET /p/{b} b=b",
			"GET /p -> GET /p/**",
			"GET /p/a/d -> GET /p/a/d",
			"GET /p/a/c -> GET /p/{b}/c b=a",
			"GET /p/a/e -> GET /p/**",
			"GET /q/x/y -> GET /{a}/x/{b} a=q b=y",
			"GET /p/x/q -> GET /p/**",
			"GET /r/s/t -> GET /r/{x=**}/s/t x=",
			"GET /r/u/t -> GET /r/{x=**}/t x=u",
			"GET /r/s/t/u -> GET /r/{x=**} x=s/t/u",
		}},
		{"backtracking across segments", []string{"GET /{a}/x/{b}", "GET /p/{c}"}, []string{
			"GET /p/x/q -> GET /{a}/x/{b} a=p b=q",
			"GET /p/x -> GET /p/{c} c=x",
		}},
		{"precedence is aware of the HTTP method", []string{"GET /x/{id}", "POST /x/search", "DELETE /x/**"}, []string{
			"GET /x/search -> GET /x/{id} id=search",
			"POST /x/search -> POST /x/search",
			"DELETE /x/search -> DELETE /x/**",
			"PUT /x/search -> 405 GET, HEAD, POST, DELETE, OPTIONS",
			"POST /x/1 -> 405 GET, HEAD, DELETE, OPTIONS",
			"get /x/1 -> 405 GET, HEAD, DELETE, OPTIONS",
		}},
		{"verbs", []string{"GET /u/{id}", "POST /u/{id}:archive", "POST /u:batch", "GET /w/{id}:archive", "POST /d/{p=**}:undo", "GET /d/{p=**}"}, []string{
			"GET /u/user:123 -> GET /u/{id} id=user:123",
			"POST /u/a:b:archive -> POST /u/{id}:archive id=a:b",
			"POST /u/a:archive -> POST /u/{id}:archive id=a",
			"GET /u/a:archive -> 405 POST, OPTIONS",
			"GET /u/a%3Aarchive -> GET /u/{id} id=a%3Aarchive",
			"POST /u/a%3Aarchive -> 405 GET, HEAD, OPTIONS",
			"GET /u/a: -> GET /u/{id} id=a:",
			"GET /u/: -> GET /u/{id} id=:",
			"POST /u/a:arch%69ve -> POST /u/{id}:archive id=a",
			"POST /u/a:Archive -> 405 GET, HEAD, OPTIONS",
			"POST /u/:archive -> 404",
			"GET /u/:archive -> 404",
			"GET /u/:other -> GET /u/{id} id=:other",
			"POST /u/..:archive -> 404",
			"POST /u:batch -> POST /u:batch",
			"GET /u:batch -> 405 POST, OPTIONS",
			"GET /u -> 404",
			"GET /w/a -> 404",
			"GET /w/a:other -> 404",
			"GET /w/a:archive -> GET /w/{id}:archive id=a",
			"POST /d/a/b:undo -> POST /d/{p=**}:undo p=a/b",
			"POST /d/a:x/b:undo -> POST /d/{p=**}:undo p=a:x/b",
			"POST /d:undo -> POST /d/{p=**}:undo p=",
			"GET /d/a:undo -> 405 POST, OPTIONS",
			"GET /d/a:undo/b -> GET /d/{p=**} p=a:undo/b",
		}},
		{"verbs with colons and behind tails", []string{"GET /u/{id}:a:b", "GET /u/{id}:b", "GET /t/{x=**}/z:v", "GET /t/{x=**}/z", "GET /t/{x=**}:v"}, []string{
			"GET /u/1:a:b -> GET /u/{id}:a:b id=1",
			"GET /u/1:c:b -> GET /u/{id}:b id=1:c",
			"GET /t/1/z:v -> GET /t/{x=**}/z:v x=1",
			"GET /t/z:v -> GET /t/{x=**}/z:v x=",
			"GET /t/1/2/z -> GET /t/{x=**}/z x=1/2",
			"GET /t/1/y:v -> GET /t/{x=**}:v x=1/y",
			"GET /t/z/1:w -> 404",
		}},
		{"a literal without the verb gives way", []string{"GET /u/me", "POST /u/{id}:archive"}, []string{
			"POST /u/me:archive -> POST /u/{id}:archive id=me",
			"GET /u/me -> GET /u/me",
		}},
		{"HEAD and any method", []string{"GET /a", "* /a", "* /b", "HEAD /c", "GET /c", "PURGE /d", "POST /pkg.Service/Method"}, []string{
			"GET /a -> GET /a", "HEAD /a -> GET /a", "POST /a -> * /a", "BREW /a -> * /a", "OPTIONS /a -> * /a", "* /a -> * /a",
			"HEAD /b -> * /b", "HEAD /c -> HEAD /c",
			"PURGE /d -> PURGE /d", "GET /d -> 405 OPTIONS, PURGE",
			"POST /pkg.Service/Method -> POST /pkg.Service/Method", "GET /pkg.Service/Method -> 405 POST, OPTIONS",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			// The order of declaration must not matter.
			forwards, backwards := table(t, tc.routes...), slices.Clone(tc.routes)
			slices.Reverse(backwards)
			for _, tab := range []*router.Table{forwards, table(t, backwards...)} {
				for _, line := range tc.want {
					request, want, _ := strings.Cut(line, " -> ")
					method, path, _ := strings.Cut(request, " ")
					if got := ask(t, tab, method, path); got != want {
						t.Errorf("%s -> %s, want %s", request, got, want)
					}
				}
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	tab := table(t, "GET /v1/books", "DELETE /v1/books", "GET /v1/{x=**}:get")
	for _, tc := range []struct {
		method, path string
		status       int
		code         codes.Code
		reason, text string
	}{
		{"GET", "/v1/boks", 404, codes.NotFound, "ROUTE_NOT_FOUND", `no route for GET /v1/boks`},
		{"GET", "/v1/books/", 404, codes.NotFound, "ROUTE_NOT_FOUND", `no route for GET /v1/books/: the path ends with "/"`},
		{"GET", "/<script>&'\"ö", 404, codes.NotFound, "ROUTE_NOT_FOUND", `no route for GET /%3Cscript%3E%26%27%22%C3%B6`},
		{"GET", "/" + strings.Repeat("a", 200), 404, codes.NotFound, "ROUTE_NOT_FOUND", `no route for GET /` + strings.Repeat("a", 127) + "..."},
		{"G<T", "/v1/boks", 404, codes.NotFound, "ROUTE_NOT_FOUND", `no route for "G<T" /v1/boks`},
		{strings.Repeat("G", 50), "/v1/boks", 404, codes.NotFound, "ROUTE_NOT_FOUND", `no route for this HTTP method /v1/boks`},
		{"POST", "/v1/books", 405, codes.Unimplemented, "METHOD_NOT_ALLOWED", `POST is not allowed for /v1/books: use GET, HEAD or DELETE`},
		{"PUT", "/v1/x:get", 405, codes.Unimplemented, "METHOD_NOT_ALLOWED", `PUT is not allowed for /v1/x:get: use GET or HEAD`},
		{"GET", "v1", 400, codes.InvalidArgument, "INVALID_PATH", `invalid path: it must start with "/"`},
		{"GET", "/v1/%zz", 400, codes.InvalidArgument, "INVALID_PATH", `invalid path: malformed percent-escape at byte 4: "%" and two hexadecimal digits are needed`},
		{"GET", "/v1/a%00", 400, codes.InvalidArgument, "INVALID_PATH", `invalid path: NUL at byte 5`},
		{"GET", "/v1/a%ff", 400, codes.InvalidArgument, "INVALID_PATH", `invalid path: bytes that are not UTF-8 at byte 5`},
		{"GET", "/v1//a", 400, codes.InvalidArgument, "INVALID_PATH", `invalid path: empty segment ("//") at byte 3`},
		{"GET", "/v1/%2e./a", 400, codes.InvalidArgument, "INVALID_PATH", `invalid path: "." or ".." segment at byte 4: send the path resolved`},
		{"GET", strings.Repeat("/a", 257), 400, codes.InvalidArgument, "INVALID_PATH", `invalid path: more than 256 segments`},
		{"GET", "/" + strings.Repeat("a", 1<<16), 414, codes.InvalidArgument, "INVALID_PATH", `invalid path: longer than 65535 bytes`},
	} {
		var m rpc.Match
		err := tab.Match(tc.method, tc.path, &m)
		if err == nil {
			t.Errorf("%s %.40s: found", tc.method, tc.path)
			continue
		}
		info, _ := err.Details[0].(*errdetails.ErrorInfo)
		if err.HTTPStatus != tc.status || err.Code != tc.code || err.Message != tc.text || info.GetReason() != tc.reason || info.GetDomain() != "transom" {
			t.Errorf("%s %.40s: %d %v %s %s\nwant %d %v %s %s", tc.method, tc.path,
				err.HTTPStatus, err.Code, info.GetReason(), err.Message, tc.status, tc.code, tc.reason, tc.text)
		}
	}
}

func TestWrongMethodStatus(t *testing.T) {
	tab, err := router.New(bindings("GET /a"), router.Options{WrongMethod: http.StatusNotImplemented})
	if err != nil {
		t.Fatal(err)
	}
	var m rpc.Match
	if err := tab.Match("POST", "/a", &m); err == nil || err.HTTPStatus != 501 || err.Code != codes.Unimplemented {
		t.Errorf("POST /a: %+v, want 501", err)
	}
}

func TestManySegments(t *testing.T) {
	tab := table(t, "GET /{all=**}", "GET /{x=**}/end")
	for _, n := range []int{31, 32, 33, 255, 256} {
		path := strings.Repeat("/a", n)
		if got, want := ask(t, tab, "GET", path), "GET /{all=**} all="+path[1:]; got != want {
			t.Errorf("%d segments: %s", n, got)
		}
		path = strings.Repeat("/a", n-1)
		if got, want := ask(t, tab, "GET", path+"/end"), "GET /{x=**}/end x="+path[1:]; got != want {
			t.Errorf("%d segments and end: %s", n, got)
		}
	}
}

func TestAllow(t *testing.T) {
	tab := table(t, "GET /x/{id}", "POST /x/search", "PURGE /x/**", "* /any", "* /a/any", "PURGE /a/any", "POST /only")
	for path, want := range map[string]string{
		"/x/search": "GET, HEAD, POST, OPTIONS, PURGE", "/x/1": "GET, HEAD, OPTIONS, PURGE", "/x": "OPTIONS, PURGE", "/only": "POST, OPTIONS",
		"/any": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS", "/a/any": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, PURGE",
		"/none": "", "/x/": "", "/x/%zz": "", "*": "",
	} {
		if got := strings.Join(tab.Allow(path), ", "); got != want {
			t.Errorf("Allow(%s) = %s, want %s", path, got, want)
		}
	}
}

func TestConflicts(t *testing.T) {
	lines := []string{
		"GET /v1/{name=shelves/*}/x", "GET /v1/shelves/{id}/x", "POST /v1/shelves/{id}/x", "* /v1/shelves/{id}/x",
		"GET /v1/~a", "GET /v1/%7ea", "GET /v1/{a=**}/z:v", "GET /v1/{b=**/z}:v", "GET /v1/{c=**}/z", "GET /bad/{x", " /none", "GET /", "GET /",
	}
	_, err := router.New(bindings(lines...), router.Options{})
	want := `api.proto:2: GET /v1/shelves/{id}/x clashes with GET /v1/{name=shelves/*}/x (api.proto:1): both match GET /v1/shelves/x3/x; change one of them
api.proto:6: GET /v1/%7ea clashes with GET /v1/~a (api.proto:5): both match GET /v1/~a; change one of them
api.proto:8: GET /v1/{b=**/z}:v clashes with GET /v1/{a=**}/z:v (api.proto:7): both match GET /v1/z:v; change one of them
api.proto:10: GET binding: path template "/bad/{x", byte 5: the variable is not closed: add "}"
api.proto:11:  binding: the HTTP method is empty
api.proto:13: GET / clashes with GET / (api.proto:12): both match GET /; change one of them`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	var conflict *router.ConflictError
	var grammar *httprule.Error
	if !errors.As(err, &conflict) || conflict.First.ID != 0 || conflict.Second.ID != 1 {
		t.Errorf("conflict is %+v", conflict)
	}
	if !errors.As(err, &grammar) || grammar.Offset != 5 {
		t.Errorf("grammar error is %+v", grammar)
	}

	tab, err := router.New(bindings(lines...), router.Options{SkipInvalid: true})
	if err != nil {
		t.Fatal(err)
	}
	var skipped []string
	for _, s := range tab.Skipped() {
		skipped = append(skipped, s.String())
	}
	if got := strings.Join(skipped, "\n"); got != want {
		t.Errorf("skipped\n%s\nwant\n%s", got, want)
	}
	if n := len(tab.Bindings()); n != len(lines)-len(skipped) {
		t.Errorf("%d bindings are served, %d skipped, of %d", n, len(skipped), len(lines))
	}
	if got := ask(t, tab, "GET", "/v1/shelves/7/x"); got != "GET /v1/{name=shelves/*}/x name=shelves/7" {
		t.Errorf("the first of a clash is not served: %s", got)
	}
}

func TestWarnings(t *testing.T) {
	tab := table(t,
		"GET /x/search", "GET /x/{id}", // grpc-gateway would take the second
		"GET /y/{id}", "GET /y/search", // it agrees with us
		"POST /x/{id}",                    // another HTTP method
		"GET /p/{c=**}", "GET /{a}/b/{c}") // it would take the second
	var got []string
	for _, w := range tab.Warnings() {
		got = append(got, w.String())
	}
	const why = ": the first takes it, being more particular, though grpc-gateway would ask the second, declared later"
	want := []string{
		`api.proto:1: GET /x/search and GET /x/{id} (api.proto:2) both match /x/search` + why,
		`api.proto:6: GET /p/{c=**} and GET /{a}/b/{c} (api.proto:7) both match /p/b/x3` + why,
	}
	if !slices.Equal(got, want) {
		t.Errorf("warnings\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestCandidates(t *testing.T) {
	tab := table(t, "GET /v1/books", "GET /v1/books/{id}", "POST /v1/books/{id}:archive", "GET /v1/shelves/{id}", "GET /v2/things/{x=**}/end", "DELETE /v1/{name=books/*}")
	for _, tc := range []struct{ method, path, want string }{
		{"GET", "/v1/boks", `GET /v1/books: segment 2 is "boks", not "books"`},
		{"GET", "/v1/boks/7", `GET /v1/books/{id}: segment 2 is "boks", not "books"`},
		{"PATCH", "/v1/books", `GET /v1/books: the HTTP method is GET, not PATCH`},
		{"POST", "/v1/books/7:archiv", `POST /v1/books/{id}:archive: the verb is ":archiv", not ":archive"`},
		{"GET", "/v1/shelves", `GET /v1/shelves/{id}: the segment "*" is missing`},
		{"GET", "/v1/shelves/1/2", `GET /v1/shelves/{id}: segment 3, "1", is one too many`},
		{"GET", "/v2/things/a/b/c/ende", `GET /v2/things/{x=**}/end: segment 6 is "ende", not "end"`},
		{"GET", "v1//boks?x", `GET /v1/books: segment 2 is "boks%3Fx", not "books"`},
	} {
		got := tab.Candidates(tc.method, tc.path, 1)
		if text := got[0].Binding.HTTPMethod + " " + got[0].Binding.Template + ": " + got[0].Reason; text != tc.want {
			t.Errorf("%s %s: %s\nwant %s", tc.method, tc.path, text, tc.want)
		}
	}
	if n := len(tab.Nearest("GET", "/v1/boks", 3)); n != 3 {
		t.Errorf("Nearest returns %d, want 3", n)
	}
	if n := len(tab.Nearest("GET", "/v1/boks", 100)); n != 6 {
		t.Errorf("Nearest returns %d, want all 6", n)
	}
	if n := len(tab.Nearest("GET", "", -1)); n != 0 {
		t.Errorf("Nearest returns %d, want none", n)
	}
	tab.Nearest("GET", strings.Repeat("/"+strings.Repeat("é", 500), 500), 3)
}

func TestEmptyTable(t *testing.T) {
	tab := table(t)
	if got := ask(t, tab, "GET", "/"); got != "404" {
		t.Errorf("GET / -> %s", got)
	}
	if tab.Nearest("GET", "/", 3) != nil || tab.Allow("/") != nil {
		t.Error("an empty table has nothing near and allows nothing")
	}
}

func TestMatchAllocatesNothing(t *testing.T) {
	lines := []string{"GET /v1/{name=projects/*/resources/*}:cancel", "GET /v1/~u/{id}", "GET /v1/{x=**}/tail", "* /any", "PURGE /w"}
	for i := range 50 { // enough for hashing
		lines = append(lines, fmt.Sprintf("GET /v1/~lit%d/{id}", i))
	}
	tab := table(t, lines...)
	var m rpc.Match
	for _, request := range []string{
		"GET /v1/projects/p/resources/r:cancel", "HEAD /v1/~u/1", "GET /v1/%7eu/%c3%b6", "GET /v1/~lit33/x", "GET /v1/%7Elit33/x", "GET /v1/a/b/c/tail", "BREW /any", "PURGE /w",
		"GET " + "/v1" + strings.Repeat("/seg", 200) + "/tail",
	} {
		method, path, _ := strings.Cut(request, " ")
		if err := tab.Match(method, path, &m); err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(100, func() { _ = tab.Match(method, path, &m) }); n != 0 {
			t.Errorf("%.60s allocates %v times", request, n)
		}
	}
}

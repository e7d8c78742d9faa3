package router_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
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

// TestMatch reads testdata/match.txt, which says how.
func TestMatch(t *testing.T) {
	data, err := os.ReadFile("testdata/match.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range strings.Split(string(data), "\n== ")[1:] {
		lines := strings.Split(group, "\n")
		t.Run(lines[0], func(t *testing.T) {
			var routes, requests []string
			for _, line := range lines[1:] {
				if route, ok := strings.CutPrefix(line, "route "); ok {
					routes = append(routes, route)
				} else if line != "" {
					requests = append(requests, line)
				}
			}
			checkRequests(t, table(t, routes...), requests)
			slices.Reverse(routes)
			checkRequests(t, table(t, routes...), requests)
		})
	}
}

// checkRequests checks "METHOD path -> answer" lines.
func checkRequests(t *testing.T, tab *router.Table, lines []string) {
	for _, line := range lines {
		request, want, ok := strings.Cut(line, " -> ")
		if strings.HasPrefix(request, `"`) {
			request, want = unquote(t, request), unquote(t, want)
		}
		method, path, _ := strings.Cut(request, " ")
		if got := ask(t, tab, method, path); !ok || got != want {
			t.Errorf("%s -> %s, want %s", request, got, want)
		}
	}
}

func unquote(t *testing.T, s string) string {
	text, err := strconv.Unquote(s)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return text
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

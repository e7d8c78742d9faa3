package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"
)

// The test binary is the transom binary when it is told so: what is tested is
// a process that gets real signals.
func TestMain(m *testing.M) {
	if os.Getenv("TRANSOM_TEST_RUN") == "1" {
		main()
		return
	}
	os.Exit(m.Run())
}

const shelf = `
syntax = "proto3";
package shelf.v1;
import "google/api/annotations.proto";
import "google/protobuf/struct.proto";
import "transom/policy/v1/policy.proto";
service Shelf {
  option (transom.policy.v1.service) = {deadline: {default: {seconds: 3}}};
  rpc Get(GetRequest) returns (google.protobuf.Value) { option (google.api.http) = {get: "/v1/books/{id}"}; }
  rpc Watch(GetRequest) returns (stream google.protobuf.Value);
}
message GetRequest { string id = 1; }
`

func schemaFolder(t *testing.T, text string) string {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "shelf.proto"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// transom runs the program in this process.
func transom(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, func(string) (string, bool) { return "", false }, &out, &errs)
	return code, out.String(), errs.String()
}

func TestCheck(t *testing.T) {
	dir := schemaFolder(t, shelf)
	code, stdout, stderr := transom(t, "check", "--schema", dir, "--upstream", "localhost:1")
	if code != 0 || stderr != "" || !strings.HasSuffix(stdout, "ok: 2 routes, 1 warning\n") ||
		!strings.Contains(stdout, "warning: shelf.proto:10:3: shelf.v1.Shelf.Watch: a streaming method without an HTTP binding\n") {
		t.Errorf("got %d\n%s%s", code, stdout, stderr)
	}
}

func TestCheckRefusesWithPlaces(t *testing.T) {
	dir := schemaFolder(t, strings.Replace(shelf, "/v1/books/{id}", "/v1/books/{isbn}", 1))
	code, stdout, stderr := transom(t, "check", "--schema", dir, "--upstream", "localhost:1")
	if code != 1 || stdout != "" || !strings.Contains(stderr, "shelf.proto:9:") || !strings.Contains(stderr, "isbn") {
		t.Errorf("got %d\n%s%s", code, stdout, stderr)
	}
	if code, stdout, _ := transom(t, "check", "--schema", dir, "--upstream", "localhost:1", "--skip-invalid"); code != 0 || !strings.Contains(stdout, "left out") {
		t.Errorf("with --skip-invalid: %d\n%s", code, stdout)
	}
}

func TestRoutes(t *testing.T) {
	dir := schemaFolder(t, shelf)
	_, stdout, _ := transom(t, "routes", "--schema", dir, "--upstream", "localhost:1")
	want := `HTTP  PATH                   METHOD                 KIND           UPSTREAM
POST  /shelf.v1.Shelf/Watch  /shelf.v1.Shelf/Watch  server stream  localhost
GET   /v1/books/{id}         /shelf.v1.Shelf/Get    unary          localhost
`
	if stdout != want {
		t.Errorf("got\n%swant\n%s", stdout, want)
	}
	_, stdout, _ = transom(t, "routes", "--json", "--schema", dir, "--upstream", "localhost:1")
	var routes []map[string]any
	if err := json.Unmarshal([]byte(stdout), &routes); err != nil || len(routes) != 2 || routes[1]["template"] != "/v1/books/{id}" {
		t.Errorf("got %s, %v", stdout, err)
	}
}

func TestExplain(t *testing.T) {
	dir := schemaFolder(t, shelf)
	_, stdout, _ := transom(t, "explain", "get", "/v1/books/a%2Fb", "--schema", dir, "--upstream", "localhost:1")
	want := `method:    /shelf.v1.Shelf/Get (unary)
binding:   GET /v1/books/{id}
declared:  shelf.proto:9:`
	if !strings.HasPrefix(stdout, want) || !strings.Contains(stdout, "variable:  id = a%2Fb\n") ||
		!strings.Contains(stdout, "policy:    deadline = {\"default\":\"3s\"}\n           from option (service) of shelf.v1.Shelf\n") {
		t.Errorf("got\n%s", stdout)
	}
	_, stdout, _ = transom(t, "explain", "GET", "/v1/book/1", "--schema", dir, "--upstream", "localhost:1")
	if !strings.HasPrefix(stdout, "no route for GET /v1/book/1\n  nearest: GET /v1/books/{id} (/shelf.v1.Shelf/Get): ") {
		t.Errorf("got\n%s", stdout)
	}
}

func TestOneClearLineForWhatIsWrong(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"serve", "--shema", "x"}, "transom: unknown flag: --shema; see transom serve --help\n"},
		{[]string{"serf"}, "transom: unknown command \"serf\" for \"transom\"\n\nDid you mean this?\n\tserve\n\n"},
		{[]string{"check", "-c", "/no/such.yaml"}, "transom: configuration: open /no/such.yaml: no such file or directory\n"},
		{[]string{"explain", "GET"}, "transom: accepts 2 arg(s), received 1\n"},
	} {
		if code, _, stderr := transom(t, tt.args...); code != 1 || stderr != tt.want {
			t.Errorf("%v: %d\n%swant\n%s", tt.args, code, stderr, tt.want)
		}
	}
}

func TestEveryVerbHasHelpWithExamples(t *testing.T) {
	for _, verb := range []string{"serve", "check", "routes", "explain", "proto export"} {
		_, stdout, _ := transom(t, append(strings.Fields(verb), "--help")...)
		if !strings.Contains(stdout, "Examples:\n  transom "+verb) {
			t.Errorf("%s --help:\n%s", verb, stdout)
		}
	}
}

func TestProtoExport(t *testing.T) {
	dir := t.TempDir()
	if code, _, stderr := transom(t, "proto", "export", dir); code != 0 {
		t.Fatal(stderr)
	}
	if _, err := os.Stat(filepath.Join(dir, "transom/policy/v1/policy.proto")); err != nil {
		t.Error(err)
	}
}

// process is transom as a process of its own.
type process struct {
	cmd   *exec.Cmd
	addr  string // of clients
	admin string
	ended chan error
	mu    sync.Mutex
	lines []string
}

func startProcess(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{ended: make(chan error, 1)}
	p.cmd = exec.CommandContext(t.Context(), os.Args[0], append([]string{"serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, args...)...) //nolint:gosec // this test's own binary
	p.cmd.Env = append(os.Environ(), "TRANSOM_TEST_RUN=1")
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	go func() {
		p.read(stderr, ready)
		p.ended <- p.cmd.Wait()
	}()
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	select {
	case <-ready:
	case err := <-p.ended:
		t.Fatalf("ended: %v\n%s", err, p.text())
	}
	return p
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// read keeps the lines of the log, and closes ready once both addresses were said.
func (p *process) read(r io.Reader, ready chan struct{}) {
	said := regexp.MustCompile(`msg="listening on (\S+) for (clients|operators)"`)
	scan := bufio.NewScanner(r)
	for scan.Scan() {
		p.mu.Lock()
		p.lines = append(p.lines, scan.Text())
		p.mu.Unlock()
		m := said.FindStringSubmatch(scan.Text())
		switch {
		case m == nil:
			continue
		case m[2] == "clients":
			p.addr = m[1]
		default:
			p.admin = m[1]
		}
		if p.addr != "" && p.admin != "" && ready != nil {
			close(ready)
			ready = nil
		}
	}
}

// echo starts a gRPC server that answers every call after a moment.
func echo(t *testing.T, wait time.Duration) string {
	srv := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, ss grpc.ServerStream) error {
		var in structpb.Value
		if err := ss.RecvMsg(&in); err != nil {
			return err
		}
		time.Sleep(wait) // the call is running for this long
		return ss.SendMsg(structpb.NewStringValue("hello"))
	}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(l)
	t.Cleanup(srv.Stop)
	return l.Addr().String()
}

// SIGTERM under load fails no request that the gateway has taken: only new
// connections are refused.
func TestSIGTERMUnderLoadFailsNoRunningCall(t *testing.T) {
	p := startProcess(t, "--schema", schemaFolder(t, shelf), "--upstream", echo(t, 20*time.Millisecond))
	var wg sync.WaitGroup
	var mu sync.Mutex
	answered := 0
	quarter := make(chan struct{})
	for range 16 {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for {
				resp, err := client.Get("http://" + p.addr + "/v1/books/1") //nolint:noctx // a test
				if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) && isDial(err) {
					return
				}
				if err != nil {
					t.Errorf("a call failed: %v", err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK || string(body) != `"hello"` {
					t.Errorf("got %d %s %v", resp.StatusCode, body, err)
					return
				}
				mu.Lock()
				if answered++; answered == 400 {
					close(quarter)
				}
				mu.Unlock()
			}
		})
	}
	<-quarter
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if err := <-p.ended; err != nil {
		t.Errorf("exit: %v", err)
	}
	if !strings.Contains(p.text(), "drained: every call finished") {
		t.Errorf("the log:\n%s", p.text())
	}
}

func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

func TestSIGHUPReloads(t *testing.T) {
	dir := schemaFolder(t, shelf)
	p := startProcess(t, "--schema", dir, "--upstream", echo(t, 0))
	text := strings.Replace(shelf, "/v1/books/{id}", "/v2/books/{id}", 1)
	if err := os.WriteFile(filepath.Join(dir, "shelf.proto"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.addr+"/v2/books/1", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatalf("%v\n%s", err, p.text())
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

package gateway_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/transomhq/transom/config"
)

// BenchmarkIdleSockets opens sockets and reports the resident memory of the
// gateway's process for each, beyond what it was without. The clients, and the
// backend, are in another process: this one, when TRANSOM_TEST_IDLE is not set.
//
//	go test ./gateway -run '^$' -bench IdleSockets -benchtime 10000x
func BenchmarkIdleSockets(b *testing.B) {
	if os.Getenv("TRANSOM_TEST_IDLE") != "" {
		b.Skip("the gateway runs in TestMain's stead")
	}
	for _, path := range []string{"/ws", "/v1/items/forever:watch"} {
		b.Run(strings.Trim(path, "/"), func(b *testing.B) { benchmarkIdle(b, path) })
	}
}

func benchmarkIdle(b *testing.B, path string) {
	if b.N == 1 {
		return
	}
	raise(b)
	dir := b.TempDir()
	for name, text := range map[string]string{"feed.proto": feed, "transom.yaml": fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
admin: {disabled: true}
schema: {sources: [feed.proto]}
clusters: [{name: feed, targets: [%q]}]
logging: {access: false}
websocket: {idle_timeout: 0s}
edge: {limits: {max_connections: 40000, max_connections_per_client: -1}}
`, feedBackend(b, nil))} {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	cmd := exec.CommandContext(b.Context(), os.Args[0], "-test.run=^TestIdleGateway$", "-test.v")
	cmd.Env = append(os.Environ(), "TRANSOM_TEST_IDLE="+dir)
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = in.Close(); _ = cmd.Wait() }()
	var addr string
	for addr == "" {
		var line string
		if _, err := fmt.Fscanln(out, &line); err != nil && line == "" {
			continue
		}
		addr, _ = strings.CutPrefix(line, "at:")
		if !strings.HasPrefix(line, "at:") {
			addr = ""
		}
	}
	before := resident(b, cmd.Process.Pid)
	var wg sync.WaitGroup
	conns := make([]net.Conn, b.N)
	for w := range 16 {
		wg.Go(func() {
			for i := w; i < b.N; i += 16 {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					b.Error(err)
					return
				}
				conns[i] = c
				fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n%s\r\n", path, validHandshake)
				var buf [512]byte
				n, err := c.Read(buf[:])
				if err != nil || !strings.Contains(string(buf[:n]), " 101 ") {
					b.Errorf("%v %s", err, buf[:n])
					return
				}
			}
		})
	}
	wg.Wait()
	time.Sleep(3 * time.Second) // nothing happens now; a collection may have to finish
	after := resident(b, cmd.Process.Pid)
	b.ReportMetric(float64(after-before)/float64(b.N), "resident-B/socket")
	for _, c := range conns {
		if c != nil {
			_ = c.Close()
		}
	}
}

// TestIdleGateway is the gateway of BenchmarkIdleSockets, in a process of its own.
func TestIdleGateway(t *testing.T) {
	dir := os.Getenv("TRANSOM_TEST_IDLE")
	if dir == "" {
		t.Skip("runs in a process of its own, for BenchmarkIdleSockets")
	}
	raise(t)
	g := start(t, config.Source{Path: dir + "/transom.yaml"})
	get(t, g.url+"/v1/items/a") // all is warm
	runtime.GC()
	fmt.Println("at:" + strings.TrimPrefix(g.url, "http://"))
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// raise lifts the limit on open files as far as it goes.
func raise(tb testing.TB) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		tb.Fatal(err)
	}
	l.Cur = l.Max
	_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l)
}

// resident returns the resident memory of a process in bytes.
func resident(tb testing.TB, pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		tb.Fatal(err)
	}
	var kb int64
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	fmt.Sscan(rest, &kb)
	return kb << 10
}

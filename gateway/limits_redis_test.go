package gateway_test

import (
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// redisServer starts a real redis-server on a port (0: a free one), and
// returns its address and the function that kills it.
func redisServer(t *testing.T, port string) (addr string, kill func()) {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("redis-server is not installed: `make packages` does it")
	}
	if port == "0" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ = net.SplitHostPort(l.Addr().String())
		l.Close()
	}
	cmd := exec.Command(path, "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	t.Cleanup(kill)
	addr = "127.0.0.1:" + port
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			return addr, kill
		}
		if time.Now().After(deadline) {
			t.Fatal("redis-server does not answer")
		}
	}
}

const sharedLimit = `
limits: {redis: {addresses: [%q], timeout: 5s}}
policies:
  - selectors: [limited.v1.Things.Get]
    policy: {limits: {rates: [{bucket: gets, key: {global: true}, requests: %d, per: 3600s}]}}
  - selectors: [limited.v1.Things.Put]
    policy: {limits: {rates: [{bucket: puts, key: {global: true}, requests: 100, per: 3600s, failure_mode: closed}]}}
  - selectors: [limited.v1.Things.Chat]
    policy: {limits: {concurrency: [{bucket: chats, key: {global: true}, limit: 1}]}}
`

// Two gateways on one Redis admit a limit once, at three times its load.
func TestTwoGatewaysShareALimit(t *testing.T) {
	addr, _ := redisServer(t, "0")
	const limit, workers = 1000, 8
	gateways := []*limited{
		startLimited(t, fmt.Sprintf(sharedLimit, addr, limit)),
		startLimited(t, fmt.Sprintf(sharedLimit, addr, limit)),
	}
	var admitted, refused, other atomic.Int64
	var wg sync.WaitGroup
	transport := &http.Transport{MaxIdleConnsPerHost: workers}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	for w := range workers {
		wg.Go(func() {
			for range 3 * limit / workers {
				resp, err := client.Get(gateways[w%2].url + "/v1/things/a") //nolint:noctx // a test
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
				switch resp.StatusCode {
				case http.StatusOK:
					admitted.Add(1)
				case http.StatusTooManyRequests:
					refused.Add(1)
				default:
					other.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := admitted.Load(); n < limit-limit/100 || n > limit+limit/100 || other.Load() != 0 {
		t.Errorf("%d admitted, %d refused, %d else; the limit is %d", n, refused.Load(), other.Load(), limit)
	}
	// A stream on one gateway takes the place that the other has not.
	first := gateways[0].open("Chat", true)
	first.send(`{"name":"a"}`)
	first.expect(`{"name":"a"}`)
	if st := gateways[1].open("Chat", true).end(); !strings.HasPrefix(st.Message(), `concurrency "chats"`) {
		t.Error(st)
	}
}

// With Redis gone each limit does what it says, at once; with Redis back, it
// counts there again.
func TestRedisGoesAndComes(t *testing.T) {
	addr, kill := redisServer(t, "0")
	_, port, _ := net.SplitHostPort(addr)
	l := startLimited(t, strings.Replace(fmt.Sprintf(sharedLimit, addr, 5), "timeout: 5s", "timeout: 100ms", 1))
	if resp, body := l.rest("POST", "/v1/things", "{}"); resp.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	kill()
	statuses := map[int]int{}
	for range 20 {
		resp, _ := l.rest("GET", "/v1/things/a", "")
		statuses[resp.StatusCode]++
	}
	if statuses[200] != 5 || statuses[429] != 15 {
		t.Errorf("counted locally: %v", statuses)
	}
	resp, body := l.rest("POST", "/v1/things", "{}")
	if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "limits cannot be checked at the moment") || strings.Contains(body, addr) {
		t.Errorf("fails closed: %d %s", resp.StatusCode, body)
	}
	redisServer(t, port)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if resp, _ := l.rest("POST", "/v1/things", "{}"); resp.StatusCode == http.StatusOK {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the gateway does not ask the server that is back")
		}
	}
}

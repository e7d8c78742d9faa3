package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

const schema = `syntax = "proto3";
package faults.v1;
import "google/protobuf/empty.proto";
service Probe {
  rpc Ping(google.protobuf.Empty) returns (google.protobuf.Empty) { option idempotency_level = NO_SIDE_EFFECTS; }
}
`

// configuration is the gateway's: nothing is tuned but how soon it looks.
const configuration = `schema: {sources: [proto]}
listeners: [{address: "127.0.0.1:0"}]
admin: {address: %q}
logging: {access: false}
clusters:
  - name: probe
    targets: [%s]
    ejection: {base_time: 1s, max_time: 2s}
    health_check: {interval: 500ms, timeout: 500ms}
policies:
  - selectors: [faults.v1.*]
    policy: {upstream: {retry: {codes: [UNAVAILABLE, INTERNAL], per_try_timeout: 500ms}}}
`

func main() {
	rate := flag.Int("rate", 1000, "calls a second")
	hold := flag.Duration("hold", 4*time.Second, "how long each fault lasts")
	flag.Parse()
	var err error
	if flag.Arg(0) == "backend" {
		err = serveBackend(flag.Arg(1))
	} else {
		err = run(os.Stdout, *rate, *hold)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

// stage is the processes that play.
type stage struct {
	self     string
	backends []*process
	gateway  *process
	admin    string
}

func run(out io.Writer, rate int, hold time.Duration) error {
	dir, err := os.MkdirTemp("", "faults")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := newStage(dir)
	if err != nil {
		return err
	}
	defer s.end()
	var results []result
	for _, f := range faults() {
		r, err := s.play(f, rate, hold)
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		results = append(results, r)
	}
	return report(out, results)
}

func newStage(dir string) (*stage, error) {
	binary := filepath.Join(dir, "transom")
	if text, err := exec.Command("go", "build", "-o", binary, "./cmd/transom").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w\n%s", err, text)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &stage{self: self, admin: filepath.Join(dir, "admin.sock")}
	var targets []string
	for range 3 {
		b, err := start("listening on ", self, "backend", "127.0.0.1:0")
		if err != nil {
			s.end()
			return nil, err
		}
		s.backends = append(s.backends, b)
		targets = append(targets, fmt.Sprintf("%q", b.address))
	}
	file := filepath.Join(dir, "transom.yaml")
	text := fmt.Sprintf(configuration, "unix:"+s.admin, strings.Join(targets, ", "))
	err = errors.Join(os.MkdirAll(filepath.Join(dir, "proto"), 0o700),
		os.WriteFile(filepath.Join(dir, "proto", "faults.proto"), []byte(schema), 0o600), os.WriteFile(file, []byte(text), 0o600))
	if err == nil {
		s.gateway, err = start("listening on 127", binary, "serve", "-c", file)
	}
	if err != nil {
		s.end()
		return nil, err
	}
	s.gateway.address = "127" + s.gateway.address
	return s, s.await(3, time.Minute)
}

func (s *stage) end() {
	for _, p := range append(s.backends, s.gateway) {
		if p != nil {
			p.signal(syscall.SIGCONT)
			p.end()
		}
	}
}

// states asks the gateway for the state of each endpoint.
func (s *stage) states() (map[string]string, error) {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", s.admin)
		},
	}}
	resp, err := client.Get("http://localhost/upstreams?format=json")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var page struct {
		Upstreams []struct {
			Endpoints []struct{ Address, State string }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
		return nil, err
	}
	states := map[string]string{}
	for _, c := range page.Upstreams {
		for _, e := range c.Endpoints {
			states[e.Address] = e.State
		}
	}
	return states, nil
}

// await waits until n endpoints are ready.
func (s *stage) await(n int, within time.Duration) error {
	for deadline := time.Now().Add(within); ; time.Sleep(10 * time.Millisecond) {
		states, err := s.states()
		ready := 0
		for _, state := range states {
			if state == "ready" {
				ready++
			}
		}
		if ready >= n {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("of the endpoints, %v are not ready in time (%w)", states, errors.Join(err, os.ErrDeadlineExceeded))
		}
	}
}

// restart starts backend i again where it was.
func (s *stage) restart(i int) error {
	p, err := start("listening on ", s.self, "backend", s.backends[i].address)
	if err == nil {
		s.backends[i] = p
	}
	return err
}

func report(out io.Writer, results []result) error {
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "FAULT\tCALLS\tFAILED\tFAILED AFTER DETECTION\tDETECTED IN\tRECOVERED IN\tSLOWEST\tSURVIVED\t")
	survived := 0
	for _, r := range results {
		verdict := "no"
		if r.survived() {
			verdict = "yes"
			survived++
		}
		fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t\n", r.name, r.calls, r.failed, r.late, since(r.detected), since(r.recovered), since(r.slowest), verdict)
	}
	_ = tw.Flush()
	for _, r := range results {
		if r.first != nil {
			fmt.Fprintf(out, "%s: the first failure: %v\n", r.name, r.first)
		}
	}
	fmt.Fprintf(out, "%d of %d faults survived\n", survived, len(results))
	if survived < len(results) {
		return errors.New("not all faults were survived")
	}
	return nil
}

func since(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return d.Round(time.Millisecond).String()
}

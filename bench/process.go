package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// process is one contender, or the backend.
type process struct {
	name  string
	addr  string // where it serves
	stats string // URL that tells how often it allocated, "" where that is not known
	key   string // the name of that number
	cmd   *exec.Cmd
	began time.Time
	ready time.Duration // from start to the first accepted connection
}

// freeAddr returns an address of this machine that nobody listens on.
func freeAddr() (string, error) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = lis.Close() }()
	return lis.Addr().String(), nil
}

// start runs a command until the process ends, and waits for its port.
func (p *process) start(dir string, env []string, command string, args ...string) error {
	out, err := os.Create(filepath.Join(dir, strings.ReplaceAll(p.name, " ", "-")+".log"))
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	p.cmd = exec.Command(command, args...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.began = time.Now()
	if err := p.cmd.Start(); err != nil {
		return err
	}
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("tcp", p.addr)
		if err == nil {
			p.ready = time.Since(p.began)
			return c.Close()
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(out.Name())
			return fmt.Errorf("%s does not listen: %s", p.name, text)
		}
	}
}

func (p *process) stop() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// cpu returns the CPU time that the process has used.
func (p *process) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+2:]))
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err1 != nil || err2 != nil {
		return 0, fmt.Errorf("%s: %s", p.name, text)
	}
	return time.Duration(user+system) * 10 * time.Millisecond, nil // USER_HZ is 100
}

// memory returns the resident set in bytes.
func (p *process) memory() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// mallocs returns how many objects the process has allocated, -1 where unknown.
func (p *process) mallocs() (float64, error) {
	if p.stats == "" {
		return -1, nil
	}
	resp, err := http.Get(p.stats)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, p.key+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("%s has no %s", p.stats, p.key)
}

const mallocsKey = "go_memstats_mallocs_total"

// serveStats tells the contenders' own allocations the way Prometheus does.
func serveStats(addr string) error {
	return http.ListenAndServe(addr, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		_, _ = fmt.Fprintf(w, "%s %d\n", mallocsKey, m.Mallocs)
	}))
}

// machine is the CPU time of the whole machine: used, and taken away by others
// on its host.
type machine struct{ busy, stolen time.Duration }

func readMachine() (machine, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return machine{}, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	var ticks [8]time.Duration // user nice system idle iowait irq softirq steal
	for i, f := range strings.Fields(line)[1:9] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return machine{}, err
		}
		ticks[i] = time.Duration(n) * 10 * time.Millisecond
	}
	return machine{ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6], ticks[7]}, nil
}

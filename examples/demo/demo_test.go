package main

import (
	"bytes"
	"context"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// output is what the demo prints, readable while it prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Every line that the demo prints works when it is pasted, and its answer
// begins as promised.
func TestPrintedLinesWork(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts four programs")
	}
	if _, err := exec.LookPath("curl"); err != nil {
		t.Fatal("the lines are curl's, which is not installed: `make packages` does it")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stdout, stderr := &output{}, &output{}
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, stdout, stderr)
	}()
	for !strings.Contains(stdout.String(), "Stop with Ctrl-C.") {
		select {
		case err := <-ended:
			t.Fatalf("the demo ended: %v\n%s\n%s", err, stdout, stderr)
		case <-time.After(20 * time.Millisecond):
		}
	}
	base := regexp.MustCompile(`open at (\S+)`).FindStringSubmatch(stdout.String())[1]
	for _, s := range samples() {
		line := s.line(base)
		if !strings.Contains(stdout.String(), line) {
			t.Errorf("%s is not printed", line)
		}
		got, err := exec.CommandContext(ctx, "sh", "-c", line).Output()
		if err != nil || !bytes.HasPrefix(got, []byte(s.want)) {
			t.Errorf("%s\n%s\n got %.200s %v\nwant %s", s.about, line, got, err, s.want)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("at the end: %v", err)
	}
}

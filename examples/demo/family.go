package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// stopTimeout is how long a child may take to end after SIGTERM.
const stopTimeout = 15 * time.Second

// family is the children of this process. None outlives it.
type family struct {
	stderr io.Writer
	died   chan error // a child ended that should not have; one is enough

	mu       sync.Mutex
	children []*child
	stopping atomic.Bool
}

// child is one process.
type child struct {
	name      string
	cmd       *exec.Cmd
	listening chan string   // the address of its first "listening on" line
	done      chan struct{} // closed when it has ended
}

func newFamily(stderr io.Writer) *family {
	return &family{stderr: stderr, died: make(chan error, 1)}
}

// start starts a child whose output is passed on with its name before each line.
func (f *family) start(name, program string, args ...string) (*child, error) {
	c := &child{name: name, cmd: exec.Command(program, args...), listening: make(chan string, 1), done: make(chan struct{})}
	// A group of its own: Ctrl-C reaches only us, and we stop the children in order.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.cmd.Stdout, c.cmd.Stderr = write, write
	err = c.cmd.Start()
	_ = write.Close() // the child has its own copy
	if err != nil {
		_ = read.Close()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	f.mu.Lock()
	f.children = append(f.children, c)
	f.mu.Unlock()
	go f.follow(c, read)
	return c, nil
}

// follow passes a child's output on until it ends.
func (f *family) follow(c *child, output io.ReadCloser) {
	defer close(c.done)
	defer output.Close()
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if address, ok := strings.CutPrefix(line, "listening on "); ok {
			select {
			case c.listening <- address:
			default:
			}
			continue
		}
		say(f.stderr, "%-8s | %s", c.name, line)
	}
	_, _ = io.Copy(io.Discard, output) // a line too long to read must not block the child
	err := c.cmd.Wait()
	if f.stopping.Load() {
		return
	}
	if err == nil {
		err = fmt.Errorf("exit status 0")
	}
	select {
	case f.died <- fmt.Errorf("%s has died: %w", c.name, err):
	default:
	}
}

// await waits for a value, unless a child dies or ctx ends first.
func (f *family) await(ctx context.Context, value <-chan string) (string, error) {
	select {
	case v := <-value:
		return v, nil
	case err := <-f.died:
		return "", err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// stop ends the children, the last one started first, and waits for them.
func (f *family) stop() {
	f.stopping.Store(true)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range slices.Backward(f.children) {
		_ = c.cmd.Process.Signal(syscall.SIGTERM) // fails if it has ended already
		select {
		case <-c.done:
		case <-time.After(stopTimeout):
			say(f.stderr, "%s does not stop: killed", c.name)
			_ = c.cmd.Process.Kill()
			<-c.done
		}
	}
}

// poll asks url until it answers 200, or ctx ends.
func poll(ctx context.Context, url string, ready chan<- string) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				ready <- url
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

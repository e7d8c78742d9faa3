package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// process is a child that said where it listens.
type process struct {
	cmd     *exec.Cmd
	address string
	done    chan struct{} // closed when it has ended
}

// start starts a program and waits for the line that contains marker; the word
// after it is the address.
func start(marker, program string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(program, args...), done: make(chan struct{})}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stdout, p.cmd.Stderr = write, write
	err = p.cmd.Start()
	_ = write.Close() // the child has its own copy
	if err != nil {
		_ = read.Close()
		return nil, err
	}
	addresses := make(chan string, 1)
	var said strings.Builder
	go func() {
		defer close(p.done)
		defer read.Close()
		defer close(addresses)
		lines := bufio.NewScanner(read)
		for found := false; lines.Scan(); {
			if _, rest, ok := strings.Cut(lines.Text(), marker); ok && !found {
				found = true
				addresses <- strings.Trim(strings.Fields(rest)[0], `"`)
			}
			if !found {
				said.WriteString(lines.Text() + "\n")
			}
		}
		_, _ = io.Copy(io.Discard, read) // a line too long for the scanner
		_ = p.cmd.Wait()
	}()
	address, ok := <-addresses
	if !ok {
		<-p.done
		return nil, fmt.Errorf("%s ended: %s", program, said.String())
	}
	p.address = address
	return p, nil
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// end kills the process and waits for it.
func (p *process) end() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

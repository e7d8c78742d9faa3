package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// traffic is what a load did: calls, messages in their answers, and how long
// each call took.
type traffic struct {
	calls, messages int64
	took            []time.Duration
	lasted          time.Duration
}

// quantile returns the latency that a part q of all calls did not exceed.
func (t *traffic) quantile(q float64) time.Duration {
	if len(t.took) == 0 {
		return 0
	}
	slices.Sort(t.took)
	return t.took[min(int(q*float64(len(t.took))), len(t.took)-1)]
}

// caller makes one call and returns how many messages its answer had.
type caller func() (messages int, err error)

// closed calls with every caller for d, each its next call when the last one
// ended. before runs when all are warm.
func closed(callers []caller, warm, d time.Duration, before func()) (*traffic, error) {
	var stop atomic.Bool
	loop := func(c caller, t *traffic) error {
		for !stop.Load() {
			began := time.Now()
			n, err := c()
			if err != nil {
				return err
			}
			t.took = append(t.took, time.Since(began))
			t.calls++
			t.messages += int64(n)
		}
		return nil
	}
	run := func(d time.Duration) (*traffic, error) {
		stop.Store(false)
		timer := time.AfterFunc(d, func() { stop.Store(true) })
		defer timer.Stop()
		return together(callers, loop)
	}
	if _, err := run(warm); err != nil {
		return nil, err
	}
	before()
	return run(d)
}

// paced makes rate calls a second for d. A call's latency counts from when it
// was due, so that a stall is seen in all calls that it delayed.
func paced(callers []caller, rate int, d time.Duration, before func()) (*traffic, error) {
	before()
	start := time.Now()
	var turn atomic.Int64
	total := int64(float64(rate) * d.Seconds())
	return together(callers, func(c caller, t *traffic) error {
		for {
			i := turn.Add(1) - 1
			if i >= total {
				return nil
			}
			due := start.Add(time.Duration(i) * time.Second / time.Duration(rate))
			time.Sleep(time.Until(due))
			n, err := c()
			if err != nil {
				return err
			}
			t.took = append(t.took, time.Since(due))
			t.calls++
			t.messages += int64(n)
		}
	})
}

// together runs loop for every caller at once and adds up.
func together(callers []caller, loop func(caller, *traffic) error) (*traffic, error) {
	parts := make([]traffic, len(callers))
	errs := make([]error, len(callers))
	began := time.Now()
	var wg sync.WaitGroup
	for i, c := range callers {
		parts[i].took = make([]time.Duration, 0, 4096)
		wg.Go(func() { errs[i] = loop(c, &parts[i]) })
	}
	wg.Wait()
	all := &traffic{lasted: time.Since(began)}
	for _, p := range parts {
		all.calls += p.calls
		all.messages += p.messages
		all.took = append(all.took, p.took...)
	}
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// httpCallers opens n HTTP/1.1 connections that send request again and again.
func httpCallers(addr string, request []byte, n int) (callers []caller, end func(), err error) {
	var conns []net.Conn
	end = func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}
	for range n {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			end()
			return nil, nil, err
		}
		conns = append(conns, c)
		in := bufio.NewReaderSize(c, 64<<10)
		callers = append(callers, func() (int, error) {
			if _, err := c.Write(request); err != nil {
				return 0, err
			}
			return readAnswer(in)
		})
	}
	return callers, end, nil
}

// readAnswer reads one HTTP/1.1 response and counts the lines of a chunked one.
func readAnswer(in *bufio.Reader) (lines int, err error) {
	status, err := in.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(status) < 12 || string(status[9:12]) != "200" {
		rest := make([]byte, 300)
		n, _ := in.Read(rest)
		return 0, fmt.Errorf("answer %s%s", status, rest[:n])
	}
	length, chunked := -1, false
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if len(line) <= 2 {
			break
		}
		switch name := strings.ToLower(string(line[:min(15, len(line))])); {
		case name == "content-length:":
			if length, err = strconv.Atoi(strings.TrimSpace(string(line[15:]))); err != nil {
				return 0, err
			}
		case strings.HasPrefix(name, "transfer-encod"):
			chunked = true
		}
	}
	if chunked {
		return readChunks(in)
	}
	_, err = in.Discard(length)
	return 1, err
}

func readChunks(in *bufio.Reader) (lines int, err error) {
	buf := make([]byte, 32<<10)
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return lines, err
		}
		size, err := strconv.ParseInt(strings.TrimSpace(string(line)), 16, 64)
		if err != nil {
			return lines, err
		}
		for left := size; left > 0; {
			n, err := io.ReadFull(in, buf[:min(left, int64(len(buf)))])
			if err != nil {
				return lines, err
			}
			for _, c := range buf[:n] {
				if c == '\n' {
					lines++
				}
			}
			left -= int64(n)
		}
		if _, err := in.Discard(2); err != nil || size == 0 {
			return max(lines, 1), err
		}
	}
}

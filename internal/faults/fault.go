package main

import (
	"syscall"
	"time"
)

// fault is something bad that happens to a backend, and how it ends.
type fault struct {
	name string
	// begin and mend do it to backend 0. Without begin, mend happens to all.
	begin func(*stage)
	mend  func(*stage) error
	// clean says that no call at all may fail.
	clean bool
}

func faults() []fault {
	signal := func(sig syscall.Signal) func(*stage) { return func(s *stage) { s.backends[0].signal(sig) } }
	again := func(sig syscall.Signal) func(*stage) error {
		return func(s *stage) error { s.backends[0].signal(sig); return nil }
	}
	return []fault{
		{name: "killed (SIGKILL)", begin: func(s *stage) { s.backends[0].end() }, mend: func(s *stage) error { return s.restart(0) }},
		{name: "frozen (SIGSTOP)", begin: signal(syscall.SIGSTOP), mend: again(syscall.SIGCONT)},
		{name: "slow (2 s a call)", begin: signal(syscall.SIGUSR1), mend: again(syscall.SIGUSR1)},
		{name: "errors (INTERNAL)", begin: signal(syscall.SIGUSR2), mend: again(syscall.SIGUSR2)},
		{name: "rolling restart", mend: (*stage).roll, clean: true},
	}
}

// roll restarts all backends, one after the other, as a deployment does.
func (s *stage) roll() error {
	for i := range s.backends {
		s.backends[i].signal(syscall.SIGTERM)
		<-s.backends[i].done
		if err := s.restart(i); err != nil {
			return err
		}
		if err := s.await(len(s.backends), 30*time.Second); err != nil {
			return err
		}
	}
	return nil
}

// result is what clients noticed.
type result struct {
	name                string
	calls, failed, late int64
	detected, recovered time.Duration
	slowest             time.Duration
	first               error
	clean               bool
}

func (r *result) survived() bool {
	if r.clean {
		return r.failed == 0
	}
	return r.late == 0 && r.failed*1000 <= r.calls
}

// play lets a fault happen under load.
func (s *stage) play(f fault, rate int, hold time.Duration) (result, error) {
	if err := s.await(len(s.backends), 30*time.Second); err != nil {
		return result{}, err
	}
	l, err := startLoad(s.gateway.address, rate)
	if err != nil {
		return result{}, err
	}
	r := result{name: f.name, clean: f.clean}
	time.Sleep(time.Second) // the load is the state of things before
	known := time.Now()
	if f.begin != nil {
		began := time.Now()
		f.begin(s)
		for ; time.Since(began) < hold; time.Sleep(5 * time.Millisecond) {
			if states, err := s.states(); err == nil && states[s.backends[0].address] != "ready" {
				r.detected = time.Since(began)
				break
			}
		}
		known = began.Add(r.detected)
		time.Sleep(time.Until(began.Add(hold)))
	}
	mended := time.Now()
	err = f.mend(s)
	if err == nil {
		err = s.await(len(s.backends), 30*time.Second)
	}
	r.recovered = time.Since(mended)
	time.Sleep(time.Second)
	l.end()
	r.calls, r.failed, r.first, r.slowest = l.total.Load(), int64(len(l.failed)), l.first, l.slow
	for _, at := range l.failed {
		if at.After(known) {
			r.late++
		}
	}
	return r, err
}

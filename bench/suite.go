package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	ordersv1 "github.com/transomhq/transom/gen/shop/orders/v1"
)

// load is one kind of traffic and who is measured under it.
type load struct {
	Name string // what the tables call it
	// Base is the contender that ratios are to.
	Base       string
	Contenders []string
	// PerMessage counts messages of streams rather than calls.
	PerMessage bool
	Rate       int // calls a second; 0: as many as go
	callers    func(addr string) ([]caller, func(), error)
}

// httpLoad is 64 keep-alive connections of HTTP/1.1.
func httpLoad(method, path, accept string, body []byte, connections int) func(string) ([]caller, func(), error) {
	return func(addr string) ([]caller, func(), error) {
		head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: shop.example\r\nAccept: %s\r\nUser-Agent: bench/1\r\n", method, path, accept)
		if body != nil {
			head += fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
		}
		return httpCallers(addr, append([]byte(head+"\r\n"), body...), connections)
	}
}

// grpcLoad is 64 callers on 4 connections of HTTP/2.
func grpcLoad(method string, request []byte, stream bool) func(string) ([]caller, func(), error) {
	return func(addr string) ([]caller, func(), error) {
		if stream {
			return grpcCallers(addr, method, request, true, 4, 2)
		}
		return grpcCallers(addr, method, request, false, 4, 16)
	}
}

func loads(binaries []binary) []*load {
	var transom, quiet, lean []string
	for _, b := range binaries {
		transom, quiet, lean = append(transom, b.name), append(quiet, b.name+" quiet"), append(lean, b.name+" lean")
	}
	with := func(lists ...[]string) (all []string) {
		for _, l := range lists {
			all = append(all, l...)
		}
		return all
	}
	json := with(transom, quiet, lean, []string{"grpc-gateway", "grpc-gateway GOGC=400", "vanguard", "raw", "floor"})
	pass := with(transom, lean, []string{"relay", "nginx", "haproxy"})
	fixedRate := with(transom, lean, []string{"raw", "grpc-gateway"})
	post := must(protojson.Marshal(product()))
	ask := must(proto.Marshal(&ordersv1.GetOrderRequest{OrderId: "4711"}))
	return []*load{
		{Name: "GET 300 B", Base: "grpc-gateway", Contenders: json, callers: httpLoad("GET", pathGet, "application/json", nil, 64)},
		{Name: "POST 1 KB", Base: "grpc-gateway", Contenders: json, callers: httpLoad("POST", pathPost, "application/json", post, 64)},
		{Name: "list 43 KB", Base: "grpc-gateway", Contenders: json, callers: httpLoad("GET", pathList, "application/json", nil, 64)},
		{Name: "stream 200 B", Base: "grpc-gateway", Contenders: with(transom, lean, []string{"grpc-gateway"}), PerMessage: true, callers: httpLoad("GET", pathStream, "application/x-ndjson", nil, 8)},
		{Name: "gRPC 300 B", Base: "relay", Contenders: pass, callers: grpcLoad(getOrder, ask, false)},
		{Name: "gRPC 43 KB", Base: "relay", Contenders: pass, callers: grpcLoad(listProducts, nil, false)},
		{Name: "gRPC stream 200 B", Base: "relay", Contenders: pass, PerMessage: true, callers: grpcLoad(trackOrder, ask, true)},
		{Name: "GET at 5,000/s", Base: "raw", Contenders: fixedRate, Rate: 5000, callers: httpLoad("GET", pathGet, "application/json", nil, 64)},
	}
}

// sample is one measurement of one contender.
type sample struct {
	round                          int
	cpu, rate, p50, p99            float64 // us, calls or messages a second, us, us
	mallocs, memory, others, steal float64 // each call; MB; parts of the machine
}

// noise is how much of the machine others may use before a sample is taken
// again, and how often that is tried.
const (
	noise   = 0.25
	retries = 2
)

// run measures everything, round by round, each in another order.
func run(o *options, dir string) (*report, error) {
	f, err := newFleet(dir)
	defer func() {
		if f != nil {
			f.stop()
		}
	}()
	if err != nil {
		return nil, err
	}
	all := loads(o.binaries)
	r := newReport(all)
	for round := range o.rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, o.rounds)
		for _, l := range all {
			for _, i := range rand.Perm(len(l.Contenders)) {
				name := l.Contenders[i]
				if !o.only.MatchString(l.Name + "/" + name) {
					continue
				}
				p, err := f.peer(name, o)
				if err == nil {
					err = r.take(l, p, f.backend, o.d, round)
				}
				if err != nil {
					return nil, fmt.Errorf("%s, %s: %w", l.Name, name, err)
				}
			}
		}
	}
	return r, routes(o, f, r)
}

// take measures until the machine is quiet enough; the quietest sample counts.
func (r *report) take(l *load, p, backend *process, d time.Duration, round int) error {
	var best *sample
	for range retries + 1 {
		s, err := one(l, p, backend, d)
		if err != nil {
			return err
		}
		if best == nil || s.others+s.steal < best.others+best.steal {
			best = s
		}
		if best.others+best.steal <= noise {
			break
		}
	}
	best.round = round
	r.add(l.Name, p.name, best)
	return nil
}

// one measures p under l once.
func one(l *load, p, backend *process, d time.Duration) (*sample, error) {
	callers, end, err := l.callers(p.addr)
	if err != nil {
		return nil, err
	}
	defer end()
	var before, after reading
	var problem error
	start := func() { before, problem = read(p, backend) }
	var t *traffic
	if l.Rate > 0 {
		t, err = paced(callers, l.Rate, d, start)
	} else {
		t, err = closed(callers, d/5, d, start)
	}
	if err = errors.Join(err, problem); err != nil {
		return nil, err
	}
	if after, err = read(p, backend); err != nil {
		return nil, err
	}
	units := float64(t.calls)
	if l.PerMessage {
		units = float64(t.messages)
	}
	if units == 0 {
		return nil, errors.New("no call ended")
	}
	memory, err := p.memory()
	if err != nil {
		return nil, err
	}
	whole := (2 * t.lasted).Seconds()
	s := &sample{
		cpu: (after.cpu - before.cpu).Seconds() * 1e6 / units, rate: units / t.lasted.Seconds(),
		p50: t.quantile(.5).Seconds() * 1e6, p99: t.quantile(.99).Seconds() * 1e6, mallocs: -1, memory: float64(memory) / 1e6,
		others: (after.machine.busy - before.machine.busy - (after.ours - before.ours)).Seconds() / whole,
		steal:  (after.machine.stolen - before.machine.stolen).Seconds() / whole,
	}
	if before.mallocs >= 0 {
		s.mallocs = (after.mallocs - before.mallocs) / units
	}
	return s, nil
}

// reading is what the clocks of the machine say at one moment.
type reading struct {
	cpu, ours time.Duration // of the contender; of it, the backend and this process
	mallocs   float64
	machine   machine
}

func read(p, backend *process) (reading, error) {
	var r reading
	var err1, err2, err3, err4, err5 error
	r.mallocs, err1 = p.mallocs()
	r.cpu, err2 = p.cpu()
	own, err3 := (&process{cmd: self()}).cpu()
	behind, err4 := backend.cpu()
	r.ours = r.cpu + own + behind
	r.machine, err5 = readMachine()
	return r, errors.Join(err1, err2, err3, err4, err5)
}

// title returns name without what only tells two binaries apart.
func title(name string) string {
	return strings.NewReplacer(" quiet", ", no access log", " lean", ", lean transport").Replace(name)
}

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// report is everything that was measured.
type report struct {
	Time    time.Time         `json:"time"`
	Machine string            `json:"machine"`
	Parts   map[string]string `json:"versions"`
	Loads   []*result         `json:"loads"`
	Starts  []start           `json:"starts"`
}

// start is how a gateway came up with a schema of so many methods.
type start struct {
	Routes  int     `json:"routes"`
	Seconds float64 `json:"seconds"`
	Memory  float64 `json:"rss_mb"`
}

// result is one load's figures.
type result struct {
	Load  string    `json:"load"`
	Unit  string    `json:"unit"`
	Base  string    `json:"ratio_to"`
	Peers []*figure `json:"contenders"`
}

// figure is one contender under one load: medians over the rounds.
type figure struct {
	Name    string  `json:"name"`
	CPU     float64 `json:"cpu_us"`
	Low     float64 `json:"cpu_us_min"`
	High    float64 `json:"cpu_us_max"`
	Ratio   float64 `json:"ratio,omitempty"` // how many times the base's CPU is this one's
	Rate    float64 `json:"per_second"`
	P50     float64 `json:"p50_us"`
	P99     float64 `json:"p99_us"`
	Mallocs float64 `json:"allocs"` // -1: unknown
	Memory  float64 `json:"rss_mb"`
	Others  float64 `json:"others"` // part of the machine that others used
	samples []*sample
}

func newReport(all []*load) *report {
	r := &report{Time: time.Now().UTC().Truncate(time.Second), Machine: machineText(), Parts: versions()}
	for _, l := range all {
		unit := "call"
		if l.PerMessage {
			unit = "message"
		}
		r.Loads = append(r.Loads, &result{Load: l.Name, Unit: unit, Base: l.Base})
	}
	r.Loads = append(r.Loads, &result{Load: "GET by routes", Unit: "call", Base: "10 routes"})
	return r
}

func (r *report) add(load, name string, s *sample) {
	for _, res := range r.Loads {
		if res.Load != load {
			continue
		}
		for _, f := range res.Peers {
			if f.Name == name {
				f.samples = append(f.samples, s)
				return
			}
		}
		res.Peers = append(res.Peers, &figure{Name: name, samples: []*sample{s}})
	}
}

// settle computes the figures from their samples. A ratio is the median of the
// ratios of each round: figures of different rounds are not comparable.
func (r *report) settle() {
	for _, res := range r.Loads {
		base := map[int]float64{}
		for _, f := range res.Peers {
			for _, s := range f.samples {
				if f.Name == res.Base {
					base[s.round] = s.cpu
				}
			}
		}
		for _, f := range res.Peers {
			var ratios []float64
			for _, s := range f.samples {
				if b, ok := base[s.round]; ok {
					ratios = append(ratios, b/s.cpu)
				}
			}
			f.settle(ratios)
		}
		slices.SortStableFunc(res.Peers, func(a, b *figure) int { return int(1000 * (a.CPU - b.CPU)) })
	}
}

func (f *figure) settle(ratios []float64) {
	of := func(get func(*sample) float64) []float64 {
		var all []float64
		for _, s := range f.samples {
			all = append(all, get(s))
		}
		return all
	}
	cpu := of(func(s *sample) float64 { return s.cpu })
	f.CPU, f.Low, f.High = median(cpu), slices.Min(cpu), slices.Max(cpu)
	f.Ratio = median(ratios)
	f.Rate = median(of(func(s *sample) float64 { return s.rate }))
	f.P50 = median(of(func(s *sample) float64 { return s.p50 }))
	f.P99 = median(of(func(s *sample) float64 { return s.p99 }))
	f.Mallocs = median(of(func(s *sample) float64 { return s.mallocs }))
	f.Memory = median(of(func(s *sample) float64 { return s.memory }))
	f.Others = median(of(func(s *sample) float64 { return s.others + s.steal }))
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// write prints the tables and writes the files that were asked for.
func (r *report) write(o *options) error {
	r.settle()
	tables := r.tables()
	fmt.Print(tables)
	if o.json != "" {
		text, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.json, append(text, '\n'), 0o644); err != nil { //nolint:gosec // a report is no secret
			return err
		}
	}
	if o.markdown == "" {
		return nil
	}
	return os.WriteFile(o.markdown, []byte(r.page(tables)), 0o644) //nolint:gosec // a report is no secret
}

func (r *report) tables() string {
	var b strings.Builder
	for _, res := range r.Loads {
		if len(res.Peers) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n", res.Load)
		fmt.Fprintf(&b, "| contender | CPU us/%s | min - max | x less than %s | %ss/s | p50 us | p99 us | allocs | RSS MB |\n", res.Unit, res.Base, res.Unit)
		b.WriteString("|---|---:|---:|---:|---:|---:|---:|---:|---:|\n")
		for _, f := range res.Peers {
			mallocs := "-"
			if f.Mallocs >= 0 {
				mallocs = fmt.Sprintf("%.1f", f.Mallocs)
			}
			fmt.Fprintf(&b, "| %s | %.2f | %.2f - %.2f | %.2f | %.0f | %.0f | %.0f | %s | %.0f |\n",
				title(f.Name), f.CPU, f.Low, f.High, f.Ratio, f.Rate, f.P50, f.P99, mallocs, f.Memory)
		}
	}
	if len(r.Starts) > 0 {
		b.WriteString("\n## Start\n\n| methods | seconds until it listens | RSS MB |\n|---:|---:|---:|\n")
		for _, s := range r.Starts {
			fmt.Fprintf(&b, "| %d | %.2f | %.0f |\n", s.Routes, s.Seconds, s.Memory)
		}
	}
	return b.String()
}

func (r *report) page(tables string) string {
	var b strings.Builder
	b.WriteString(`# Benchmarks

Written by ` + "`make bench`" + ` (` + "`make bench-quick`" + ` for under three minutes). Compare ratios, not figures of different runs.

CPU is that of the gateway's process a call (or a message of a stream), user and system time from /proc, the median over
the rounds; contenders take turns in every round, on one backend with ready-made answers. The load generator, the backend and
the contender share the machine. REST loads use 64 keep-alive connections of HTTP/1.1, gRPC loads 64 callers on 4 connections
(streams: 8 at a time). Latencies are those of a closed loop, which is mostly queueing; only "GET at 5,000/s" has a fixed rate.

- transom: as it comes, with metrics, access log and the deadlines of the example shop's protos, but without validation, which
  no peer does; "no access log" leaves that out, "lean transport" is what clusters with transport: lean get.
- grpc-gateway, vanguard: without telemetry of any kind; the former with generated handlers, and again with GOGC=400.
- raw: net/http with a grpc-go call behind it, fixed JSON, nothing transcoded. floor: net/http alone with fixed JSON.
- relay: a grpc-go server whose UnknownServiceHandler passes bytes on. nginx: grpc_pass, one worker. haproxy: two threads.

`)
	fmt.Fprintf(&b, "%s, %s\n\n", r.Time.Format(time.RFC3339), r.Machine)
	var names []string
	for name := range r.Parts {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "- %s %s\n", name, r.Parts[name])
	}
	return b.String() + tables
}

func machineText() string {
	model := "unknown CPU"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if _, v, ok := strings.Cut(line, "model name\t: "); ok {
				model = strings.TrimSpace(v)
				break
			}
		}
	}
	return fmt.Sprintf("%d x %s, %s/%s", runtime.NumCPU(), model, runtime.GOOS, runtime.GOARCH)
}

func versions() map[string]string {
	v := map[string]string{"Go": runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			switch m.Path {
			case "google.golang.org/grpc", "google.golang.org/protobuf", "github.com/grpc-ecosystem/grpc-gateway/v2", "connectrpc.com/vanguard":
				v[m.Path] = m.Version
			}
		}
	}
	for name, args := range map[string][]string{"nginx": {"-v"}, "haproxy": {"-v"}} {
		out, _ := exec.Command(name, args...).CombinedOutput() //nolint:gosec // the two above
		line, _, _ := bytes.Cut(out, []byte("\n"))
		v[name] = strings.TrimPrefix(strings.TrimPrefix(string(line), "nginx version: nginx/"), "HAProxy version ")
	}
	return v
}

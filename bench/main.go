package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// options are how long and what to measure.
type options struct {
	rounds   int
	d        time.Duration
	only     *regexp.Regexp
	binaries []binary
	json     string
	markdown string
	repo     string
}

// binary is a gateway to measure, by name.
type binary struct{ name, path string }

func main() {
	var err error
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		err = serve(os.Args[1:])
	} else {
		err = measure(os.Args[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// serve is what the contenders' processes do: ROLE ADDR STATS BACKEND.
func serve(args []string) error {
	if len(args) != 4 {
		return fmt.Errorf("want ROLE ADDR STATS BACKEND, have %q", args)
	}
	role, addr, stats, backend := args[0], args[1], args[2], args[3]
	if stats != "" {
		go func() { fmt.Fprintln(os.Stderr, serveStats(stats)) }() // ends with the process
	}
	switch role {
	case "backend":
		return serveBackend(addr)
	case "grpc-gateway":
		return serveGRPCGateway(addr, backend)
	case "vanguard":
		return serveVanguard(addr, backend)
	case "raw":
		return serveRaw(addr, backend)
	case "floor":
		return serveFloor(addr)
	case "relay":
		return serveRelay(addr, backend)
	}
	return fmt.Errorf("no role %q", role)
}

func measure(args []string) error {
	fs := flag.NewFlagSet("bench", flag.ExitOnError)
	var o options
	quick := fs.Bool("quick", false, "few and short rounds")
	fs.IntVar(&o.rounds, "rounds", 0, "rounds (default 12, quick 4)")
	fs.DurationVar(&o.d, "time", 0, "time of one measurement (default 2s, quick 800ms)")
	only := fs.String("only", "", "`REGEXP` of \"load/contender\"")
	fs.Func("transom", "`NAME=PATH` of a gateway's binary to measure, repeatable (default: this tree's)", func(s string) error {
		name, path, ok := strings.Cut(s, "=")
		if !ok {
			return fmt.Errorf("want NAME=PATH")
		}
		o.binaries = append(o.binaries, binary{name, path})
		return nil
	})
	fs.StringVar(&o.json, "json", "", "`FILE` that the figures are written to")
	fs.StringVar(&o.markdown, "markdown", "", "`FILE` that the tables are written to")
	into := fs.String("profile", "", "`DIR` to save profiles of the gateway under each load in, instead of measuring")
	fs.StringVar(&o.repo, "repo", "..", "the repository's root")
	if err := fs.Parse(args); err != nil {
		return err
	}
	o.fill(*quick)
	var err error
	if o.only, err = regexp.Compile(*only); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if len(o.binaries) == 0 {
		path := filepath.Join(dir, "transom")
		if err := command(o.repo, "go", "build", "-o", path, "./cmd/transom"); err != nil {
			return err
		}
		o.binaries = []binary{{"transom", path}}
	}
	if *into != "" {
		return profile(&o, dir, *into)
	}
	r, err := run(&o, dir)
	if err != nil {
		return err
	}
	return r.write(&o)
}

func (o *options) fill(quick bool) {
	rounds, d := 12, 2*time.Second
	if quick {
		rounds, d = 4, 800*time.Millisecond
	}
	if o.rounds == 0 {
		o.rounds = rounds
	}
	if o.d == 0 {
		o.d = d
	}
}

package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// profile saves where the gateway's CPU time goes and what it allocates under
// each load, into DIR/LOAD.cpu and DIR/LOAD.allocs.
func profile(o *options, dir, into string) error {
	f, err := newFleet(dir)
	defer func() {
		if f != nil {
			f.stop()
		}
	}()
	if err != nil {
		return err
	}
	for _, l := range loads(o.binaries) {
		name := o.binaries[0].name
		if l.Rate > 0 || !o.only.MatchString(l.Name+"/"+name) {
			continue
		}
		p, err := f.peer(name, o)
		if err == nil {
			err = profileOne(l, p, o.d, filepath.Join(into, strings.ReplaceAll(l.Name, " ", "-")))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", l.Name, err)
		}
		p.stop() // so that allocations are those of one load
		delete(f.all, name)
	}
	return nil
}

func profileOne(l *load, p *process, d time.Duration, file string) error {
	callers, end, err := l.callers(p.addr)
	if err != nil {
		return err
	}
	defer end()
	pages := strings.TrimSuffix(p.stats, "/metrics") + "/debug/pprof/"
	saved := make(chan error, 1)
	before := func() {
		go func() { saved <- save(fmt.Sprintf("%sprofile?seconds=%.0f", pages, d.Seconds()), file+".cpu") }()
	}
	if _, err := closed(callers, d/5, d+time.Second, before); err != nil {
		return err
	}
	if err := <-saved; err != nil {
		return err
	}
	return save(pages+"allocs", file+".allocs")
}

func save(url, file string) error {
	resp, err := http.Get(url)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", url, resp.Status, body)
	}
	return os.WriteFile(file, body, 0o600)
}

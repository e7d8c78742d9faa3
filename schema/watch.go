package schema

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	"github.com/transomhq/transom/schema/watch"
)

// Watch calls changed when a source or rules file changed after the last Load,
// until ctx is done, and then returns nil. Files are watched; servers are
// asked every ReflectionInterval, and sooner while one cannot be reached. The
// caller loads again, and compares Snapshot.ID where it matters.
//
// changed is not called twice at the same time. No goroutine is left behind.
func (l *Loader) Watch(ctx context.Context, changed func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var one sync.Mutex
	tell := func() {
		one.Lock()
		defer one.Unlock()
		if ctx.Err() == nil {
			changed()
		}
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	if l.opts.ReflectionInterval >= 0 {
		for _, source := range l.opts.Sources {
			if kindOf(source) == reflectionSource {
				wg.Go(func() { l.poll(ctx, source, tell) })
			}
		}
	}
	paths := l.paths()
	if len(paths) == 0 {
		<-ctx.Done()
		return nil
	}
	l.mu.Lock()
	since := l.since
	l.mu.Unlock()
	err := watch.Run(ctx, paths, watch.Options{Match: isSchemaFile, Since: since}, tell)
	cancel()
	return err
}

// paths returns the files and folders of all sources and rules.
func (l *Loader) paths() []string {
	var paths []string
	for _, source := range l.opts.Sources {
		if kindOf(source) != reflectionSource {
			paths = append(paths, source)
		}
	}
	return append(paths, l.opts.Rules...)
}

// isSchemaFile accepts the files of a folder that are its schema.
func isSchemaFile(name string) bool { return filepath.Ext(name) == ".proto" }

// poll asks one server again and again, and tells when it says something new.
func (l *Loader) poll(ctx context.Context, source string, tell func()) {
	retry := time.Second
	for {
		wait := l.opts.reflectionInterval()
		if l.lastSum(source) == "" {
			wait = min(wait, retry)
			retry = min(2*retry, 30*time.Second)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		r, err := askServer(ctx, source, &l.opts)
		if err != nil || r.sum == l.lastSum(source) {
			continue
		}
		tell()
		if l.lastSum(source) == "" { // nobody loaded; do not tell the same again and again
			l.remember(source, r, nil)
		}
	}
}

// lastSum is the sum of what the last Load got from a server, "" if nothing.
func (l *Loader) lastSum(source string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.remembered[source]; r != nil {
		return r.sum
	}
	return ""
}

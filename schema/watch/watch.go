package watch

import (
	"context"
	"fmt"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Options say what counts as a change and how soon it is told. The zero value
// is for every file, told a fifth of a second after the last of its events.
type Options struct {
	// Match accepts the names of files below watched folders; nil accepts all.
	// Files that are watched by name always count.
	Match func(name string) bool
	// Since is the state that the caller knows, from Take before it read the
	// files. Empty: the state when Run begins.
	Since State
	// Settle is how long things must be quiet before a change is told. 0 means
	// 200 ms. Without a quiet moment it is told after ten times that.
	Settle time.Duration
	// Poll is how often to look without being told by the system, which does
	// not see every change on network file systems. 0 means 10 s, negative never.
	Poll time.Duration
}

// Run calls changed after each change of paths, which are files and folders,
// until ctx is done, and then returns nil. It returns early only when the
// system can watch nothing and Poll is off. changed runs in Run's goroutine:
// what changes meanwhile is told after it. No goroutine is left behind.
func Run(ctx context.Context, paths []string, opts Options, changed func()) error {
	if opts.Settle <= 0 {
		opts.Settle = 200 * time.Millisecond
	}
	if opts.Poll == 0 {
		opts.Poll = 10 * time.Second
	}
	w := &watcher{paths: paths, opts: opts, changed: changed, added: map[string]bool{}}
	fs, err := fsnotify.NewWatcher()
	if err == nil {
		w.fs = fs
		defer func() { _ = fs.Close() }()
	} else if opts.Poll < 0 {
		return fmt.Errorf("watch: %w", err)
	}
	w.last = opts.Since
	if w.last == "" {
		w.last = Take(paths, opts.Match)
	}
	w.look()
	w.loop(ctx)
	return nil
}

type watcher struct {
	paths   []string
	opts    Options
	changed func()
	fs      *fsnotify.Watcher // nil where the system cannot watch
	added   map[string]bool
	last    State
}

// look compares the state with the last one, and watches the folders that
// matter now. It is done again until watching and state agree, so that nothing
// is missed between the two.
func (w *watcher) look() {
	for range 10 {
		state, dirs := look(w.paths, w.opts.Match)
		more := w.watch(dirs)
		if state != w.last {
			w.last = state
			w.changed()
			continue
		}
		if !more {
			return
		}
	}
}

// watch makes dirs the watched folders; it reports whether there are new ones.
func (w *watcher) watch(dirs []string) bool {
	if w.fs == nil {
		return false
	}
	more := false
	now := make(map[string]bool, len(dirs))
	for _, d := range dirs {
		// Added again each time: a folder that was removed and made anew has
		// the same name and needs a new watch.
		if w.fs.Add(d) == nil {
			now[d] = true
			more = more || !w.added[d]
		}
	}
	for d := range w.added {
		if !now[d] {
			_ = w.fs.Remove(d) // often gone already
		}
	}
	w.added = now
	return more
}

func (w *watcher) loop(ctx context.Context) {
	var events chan fsnotify.Event
	var errs chan error
	if w.fs != nil {
		events, errs = w.fs.Events, w.fs.Errors
	}
	var poll <-chan time.Time
	if w.opts.Poll > 0 {
		t := time.NewTicker(w.opts.Poll)
		defer t.Stop()
		poll = t.C
	}
	settle := time.NewTimer(w.opts.Settle)
	settle.Stop()
	defer settle.Stop()
	var first time.Time // of the events that were not looked at yet
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-events:
			if !ok {
				return
			}
			if first.IsZero() {
				first = time.Now()
			}
			if time.Since(first) < 10*w.opts.Settle {
				settle.Reset(w.opts.Settle)
			}
		case _, ok := <-errs: // events were lost
			if !ok {
				return
			}
			settle.Reset(w.opts.Settle)
		case <-settle.C:
			first = time.Time{}
			w.look()
		case <-poll:
			w.look()
		}
	}
}

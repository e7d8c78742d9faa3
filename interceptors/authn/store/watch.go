package store

import (
	"context"
	"log/slog"
	"time"
)

// PollInterval is how often a store is asked for changes. Twice of it is less
// than the second within which they must hold.
const PollInterval = 400 * time.Millisecond

// Watch calls changed at once and after every change of s until ctx is done,
// and tick each time that it has asked. When s cannot be asked, or changed
// fails, it tries again at the next time.
func Watch(ctx context.Context, s Store, log *slog.Logger, changed func(context.Context) error, tick func()) {
	poll := time.NewTicker(PollInterval)
	defer poll.Stop()
	known, first, failing := "", true, false
	for {
		version, err := s.Version(ctx)
		if err == nil && (first || version != known) {
			if err = changed(ctx); err == nil {
				known, first = version, false
			}
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil && !failing {
			log.Warn("the store of keys and revocations cannot be read; what was read before holds", "error", err)
		}
		failing = err != nil
		tick()
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
		}
	}
}

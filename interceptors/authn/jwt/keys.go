package jwt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// KeyOptions say where an issuer's keys are. One of URL, File and Discovery is
// set.
type KeyOptions struct {
	URL       string // a JWK set
	File      string // a JWK set
	Discovery bool   // ask the issuer where they are (OpenID Connect Discovery 1.0, section 4)

	// Refresh is how often keys are fetched anew; 0: 5 minutes. A file is read
	// again when it has changed, which is looked for every second.
	Refresh time.Duration
	// MinInterval is the least time between two fetches on behalf of tokens
	// that name an unknown key; 0: 10 seconds.
	MinInterval time.Duration
	// Client fetches; nil: one with a timeout of 5 seconds.
	Client *http.Client
	// Log hears of keys that cannot be fetched; nil: nobody does.
	Log *slog.Logger
}

const (
	defaultRefresh     = 5 * time.Minute
	defaultMinInterval = 10 * time.Second
	fetchTimeout       = 5 * time.Second
	fileInterval       = time.Second
	// maxWait is how long a call with an unknown key waits for its turn to
	// have the keys fetched. A key that is newer than the last fetch so costs
	// its first callers some patience, and not an error.
	maxWait = time.Second
)

// keys are an issuer's keys, kept fresh. Those that were fetched once are
// served until there are newer ones, however long the issuer is down.
type keys struct {
	opts    KeyOptions
	issuer  string
	current atomic.Pointer[keySet]

	ctx    context.Context //nolint:containedctx // of the goroutines that close waits for
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	flight chan struct{} // closed when the fetch under way ends; nil: none
	asked  time.Time     // when a token last caused a fetch
	failed error         // what the last fetch ended with
	stamp  fileStamp
}

// newKeys starts keeping keys. A file must be readable at once; a server may
// come later.
func newKeys(issuer string, opts KeyOptions) (*keys, error) {
	if opts.Refresh <= 0 {
		opts.Refresh = defaultRefresh
	}
	if opts.File != "" {
		opts.Refresh = fileInterval
	}
	if opts.MinInterval <= 0 {
		opts.MinInterval = defaultMinInterval
	}
	if opts.Client == nil {
		opts.Client = &http.Client{Timeout: fetchTimeout, CheckRedirect: noDowngrade}
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	k := &keys{opts: opts, issuer: issuer}
	if opts.File != "" {
		if err := k.readFile(); err != nil {
			return nil, err
		}
	}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	k.wg.Go(k.keepFresh)
	return k, nil
}

// close ends the refreshing and waits for it.
func (k *keys) close() {
	k.cancel()
	k.wg.Wait()
	k.opts.Client.CloseIdleConnections()
}

// keepFresh fetches at once and then again and again, sooner after a failure.
func (k *keys) keepFresh() {
	delay := time.Duration(0)
	if k.opts.File != "" {
		delay = fileInterval
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	failures := 0
	for {
		select {
		case <-k.ctx.Done():
			return
		case <-timer.C:
		}
		flight := k.fly(false)
		<-flight
		delay = k.opts.Refresh
		if k.lastFailure() != nil {
			failures++
			delay = min(delay, time.Second<<min(failures-1, 5))
		} else {
			failures = 0
		}
		timer.Reset(delay)
	}
}

func (k *keys) lastFailure() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.failed
}

// fly starts a fetch, or joins the one under way. Those that tokens ask for
// keep their distance from each other: nil says that it is too soon.
func (k *keys) fly(asked bool) chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.flight != nil {
		return k.flight
	}
	if asked {
		if time.Since(k.asked) < k.opts.MinInterval {
			return nil
		}
		k.asked = time.Now()
	}
	flight := make(chan struct{})
	k.flight = flight
	k.wg.Go(func() {
		err := k.fetch(k.ctx)
		k.mu.Lock()
		k.flight, k.failed = nil, err
		k.mu.Unlock()
		close(flight)
	})
	return flight
}

// errNoKeys says that the issuer could not be asked yet.
var errNoKeys = errors.New("the issuer's keys could not be fetched yet")

// find returns the keys that may have signed t. For a key that nobody knows,
// the issuer is asked once more, at most once an interval.
func (k *keys) find(ctx context.Context, t *token) ([]*key, error) {
	set := k.current.Load()
	for range 2 {
		if set != nil {
			if found := set.candidates(t); len(found) > 0 {
				return found, nil
			}
		}
		fetched := k.await(ctx)
		set = k.current.Load() // others may have had it fetched meanwhile
		if !fetched {
			break
		}
	}
	switch {
	case set == nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case set == nil:
		return nil, errors.Join(errNoKeys, k.lastFailure())
	}
	return set.candidates(t), nil
}

// await waits until the keys were fetched anew, and reports false if it is not
// their time yet.
func (k *keys) await(ctx context.Context) bool {
	flight := k.fly(true)
	if flight == nil {
		if flight = k.awaitTurn(ctx); flight == nil {
			return false
		}
	}
	select {
	case <-flight:
		return true
	case <-ctx.Done():
		return false
	case <-k.ctx.Done():
		return false
	}
}

// awaitTurn waits for a fetch whose time comes soon.
func (k *keys) awaitTurn(ctx context.Context) chan struct{} {
	k.mu.Lock()
	wait := k.opts.MinInterval - time.Since(k.asked)
	k.mu.Unlock()
	if wait > maxWait {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return k.fly(true)
	case <-ctx.Done():
	case <-k.ctx.Done():
	}
	return nil
}

// fetch reads the keys from where they are.
func (k *keys) fetch(ctx context.Context) error {
	var err error
	switch {
	case k.opts.File != "":
		err = k.readFile()
	default:
		err = k.readURL(ctx)
	}
	if err != nil && ctx.Err() == nil {
		k.opts.Log.Warn("the keys of an issuer cannot be read; those read before stay", "issuer", k.issuer, "error", err)
	}
	return err
}

func (k *keys) take(text []byte) error {
	next, err := parseKeySet(text)
	if err != nil {
		return err
	}
	for _, skipped := range next.skipped {
		k.opts.Log.Debug("a key of an issuer is left out", "issuer", k.issuer, "error", skipped)
	}
	k.current.Store(k.current.Load().replace(next))
	return nil
}

// fileStamp tells one content of a file from the next.
type fileStamp struct {
	at   time.Time
	size int64
}

// readFile reads the file if it has changed. It runs in one goroutine at a time.
func (k *keys) readFile() error {
	info, err := os.Stat(k.opts.File)
	if err != nil {
		return fmt.Errorf("key set: %w", err)
	}
	stamp := fileStamp{info.ModTime(), info.Size()}
	if stamp == k.stamp {
		return nil
	}
	if info.Size() > maxKeySetBytes {
		return fmt.Errorf("key set: %s is larger than %d bytes", k.opts.File, maxKeySetBytes)
	}
	text, err := os.ReadFile(k.opts.File)
	if err != nil {
		return fmt.Errorf("key set: %w", err)
	}
	if err := k.take(text); err != nil {
		return fmt.Errorf("%s: %w", k.opts.File, err)
	}
	k.stamp = stamp
	return nil
}

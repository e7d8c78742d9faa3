package traffic

import (
	"math/bits"
	"sync"
	"time"
)

// windowParts is how many parts a window has: it moves on by one of them at a time.
const windowParts = 10

// window counts the calls of the last while.
type window struct {
	part time.Duration

	mu    sync.Mutex
	parts [windowParts]tally
	turn  int64 // the number of the running part, since 1970
}

// tally is what is counted of some calls.
type tally struct {
	calls, failed int64
	took          histogram
}

func newWindow(length time.Duration) *window {
	return &window{part: max(length/windowParts, time.Millisecond)}
}

// add counts a call. A call that its client gave up is no call that ended, but
// says that it had taken that long.
func (w *window) add(now time.Time, took time.Duration, failed, gaveUp bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := &w.parts[w.move(now)]
	t.took.add(took)
	if gaveUp {
		return
	}
	t.calls++
	if failed {
		t.failed++
	}
}

// move empties the parts that are over, and returns the index of the running one.
func (w *window) move(now time.Time) int64 {
	turn := now.UnixNano() / int64(w.part)
	for n := max(w.turn+1, turn-windowParts+1); n <= turn; n++ {
		w.parts[n%windowParts] = tally{}
	}
	w.turn = max(w.turn, turn)
	return w.turn % windowParts
}

// sum returns what the whole window counted.
func (w *window) sum(now time.Time) tally {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.move(now)
	var all tally
	for i := range w.parts {
		all.add(&w.parts[i])
	}
	return all
}

func (t *tally) add(other *tally) {
	t.calls += other.calls
	t.failed += other.failed
	for i, n := range other.took {
		t.took[i] += n
	}
}

// rate returns the share of failed calls, 0 to 1.
func (t *tally) rate() float64 {
	if t.calls == 0 {
		return 0
	}
	return float64(t.failed) / float64(t.calls)
}

const (
	finest = 13 // the first bucket ends at 2^13 ns, about 8 µs
	octave = 8  // buckets for each power of two: an error of at most an eighth
	octavs = 25 // up to 2^38 ns, about 4 min 35 s
)

// histogram counts times in buckets whose width grows with the time.
type histogram [octave*octavs + 1]uint32

func (h *histogram) add(d time.Duration) { h[bucket(d)]++ }

func bucket(d time.Duration) int {
	if d < 1<<finest {
		return 0
	}
	n := uint64(d)
	exp := bits.Len64(n) - 1
	if exp >= finest+octavs {
		return octave * octavs
	}
	return 1 + (exp-finest)*octave + int(n>>(exp-3)&(octave-1)) //nolint:gosec // at most seven
}

// start returns the shortest time of a bucket.
func start(bucket int) time.Duration {
	if bucket == 0 {
		return 0
	}
	exp, part := (bucket-1)/octave+finest, (bucket-1)%octave
	return time.Duration(1)<<exp + time.Duration(part)<<(exp-3)
}

// quantile returns the time that the share q of all calls did not exceed,
// within an eighth.
func (h *histogram) quantile(q float64) time.Duration {
	var n uint64
	for _, c := range h {
		n += uint64(c)
	}
	if n == 0 {
		return 0
	}
	rank := q * float64(n)
	for i, c := range h {
		if float64(c) >= rank && c > 0 {
			if i == len(h)-1 {
				return start(i)
			}
			from, to := start(i), start(i+1)
			return from + time.Duration(float64(to-from)*rank/float64(c))
		}
		rank -= float64(c)
	}
	return start(len(h) - 1)
}

package traffic

import (
	"math"
	"math/rand/v2"
)

// key is what keeps calls together; none says that there is nothing to keep.
type key struct {
	a, b string
	none bool
}

// choose returns the subset of a key: weighted rendezvous hashing, so a weight
// that grows moves keys to its subset and none between others, and every
// gateway chooses the same. A key that is none is chosen at random. weight(i)
// is the weight of subset i; -1 means that all weights are 0.
func choose(names []string, weight func(i int) float64, k key) int {
	if k.none {
		return draw(len(names), weight)
	}
	best, most := -1, 0.0
	for i, name := range names {
		if w := weight(i); w > 0 {
			if score := -w / math.Log(point(name, k)); best < 0 || score > most {
				best, most = i, score
			}
		}
	}
	return best
}

// draw returns a subset at random.
func draw(n int, weight func(i int) float64) int {
	sum := 0.0
	for i := range n {
		sum += weight(i)
	}
	at, last := rand.Float64()*sum, -1 //nolint:gosec // no secret
	for i := range n {
		w := weight(i)
		if w <= 0 {
			continue
		}
		if last = i; at < w {
			break
		}
		at -= w
	}
	return last
}

// point hashes a key to a number between 0 and 1, both excluded: FNV-1a, then
// MurmurHash3's last mix.
func point(salt string, k key) float64 {
	h := uint64(14695981039346656037)
	for _, s := range [...]string{salt, "\x00", k.a, "\x00", k.b} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	return (float64(h>>11) + 0.5) / (1 << 53)
}

// share reports whether a key is among percent of all keys.
func share(percent float64, salt string, k key) bool {
	if k.none {
		return rand.Float64()*100 < percent //nolint:gosec // no secret
	}
	return point(salt, k)*100 < percent
}

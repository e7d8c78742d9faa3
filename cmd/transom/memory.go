package main

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/transomhq/transom/config"
)

const (
	// heapGrowth is by how many percent the heap grows until it is collected.
	// A gateway's live heap is small and its garbage short-lived: Go's 100 costs
	// an eighth of all CPU time and saves some tens of megabytes
	// (docs/performance.md).
	heapGrowth = 400
	// memoryShare is the part of the memory that a container may use from which
	// on the collector works harder rather than let the heap grow, in percent.
	memoryShare = 75
)

// tuneMemory sets what the environment does not: GOGC and GOMEMLIMIT win.
func tuneMemory(env config.Env) {
	if _, ok := env("GOGC"); !ok {
		debug.SetGCPercent(heapGrowth)
	}
	if _, ok := env("GOMEMLIMIT"); ok {
		return
	}
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		text, err := os.ReadFile(file) //nolint:gosec // a list of constants
		if err != nil {
			continue
		}
		if limit, ok := softLimit(string(text)); ok {
			debug.SetMemoryLimit(limit)
			return
		}
	}
}

// softLimit returns the heap's soft limit for a cgroup's memory limit as the
// kernel spells it; false where there is none ("max", or as good as infinite).
func softLimit(text string) (int64, bool) {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || n <= 0 || n >= 1<<50 {
		return 0, false
	}
	return n / 100 * memoryShare, true
}

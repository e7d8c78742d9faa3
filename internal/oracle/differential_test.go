package oracle

import (
	"maps"
	"slices"
	"testing"
)

// maxShown is how many mismatches are printed; the rest are counted.
const maxShown = 20

// The gateway in its grpc-gateway profile does as grpc-gateway does: the same
// message upstream, the same status, JSON and mapped fields to the client, save
// for the named differences, each of which must still be one.
func TestSameAsGRPCGateway(t *testing.T) {
	upstream := startUpstream(t)
	oracle, transom, client := startOracle(t, upstream), startTransom(t, upstream), newClient(t)
	differences := Differences()
	compared, explained, mismatched := 0, map[string]int{}, 0
	for _, c := range Corpus(corpusSeed, corpusSize) {
		if c.Streams {
			continue // TODO(#4): the REST door does not serve streams yet
		}
		pair := &Pair{Case: c}
		var err error
		if pair.Oracle, err = Send(t.Context(), client, oracle, upstream, c); err != nil {
			t.Fatal(err)
		}
		if len(pair.Oracle.Calls) > 0 && pair.Oracle.Calls[0].Streams() {
			continue // the mutation made it another method's request
		}
		if pair.Transom, err = Send(t.Context(), client, transom, upstream, c); err != nil {
			t.Fatal(err)
		}
		compared++
		if !explain(t, pair, differences, explained, mismatched < maxShown) {
			mismatched++
		}
	}
	t.Logf("%d requests compared", compared)
	for _, name := range slices.Sorted(maps.Keys(explained)) {
		t.Logf("%5d %s", explained[name], name)
	}
	if mismatched > 0 {
		t.Errorf("%d requests differ without a reason", mismatched)
	}
	if compared < 2000 {
		t.Errorf("%d requests compared, want at least 2000", compared)
	}
	for _, d := range differences {
		if explained[d.Name] == 0 && !d.Chance {
			t.Errorf("difference %q explains nothing any more: remove it", d.Name)
		}
	}
}

// explain reports whether every mismatch of a pair has a reason, and counts the reasons.
func explain(t *testing.T, pair *Pair, differences []Difference, counts map[string]int, show bool) bool {
	t.Helper()
	ok, seen := true, map[string]bool{}
	for _, m := range pair.Mismatches() {
		name := Explain(differences, pair, m)
		if name == "" {
			if show {
				t.Logf("%s\n  %s\n  oracle  %s\n  transom %s", pair.Case, m, pair.Oracle, pair.Transom)
			}
			ok = false
			continue
		}
		if !seen[name] {
			seen[name] = true
			counts[name]++
		}
	}
	return ok
}

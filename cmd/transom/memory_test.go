package main

import "testing"

func TestSoftLimit(t *testing.T) {
	for text, want := range map[string]int64{
		"536870912\n":           402653175,
		"max\n":                 0,
		"9223372036854771712\n": 0, // cgroup v1 without a limit
		"":                      0,
		"0\n":                   0,
	} {
		if got, ok := softLimit(text); got != want || ok != (want != 0) {
			t.Errorf("softLimit(%q) = %d, %v; want %d", text, got, ok, want)
		}
	}
}

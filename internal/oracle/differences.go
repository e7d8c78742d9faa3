package oracle

// Difference is something in which the gateway differs from grpc-gateway on
// purpose, even in the profile that exists to be like it.
type Difference struct {
	Name   string
	Reason string
	// Explains reports whether the difference is why the pair's outcomes differ.
	Explains func(p *Pair) bool
}

// Differences are all of them. A test fails when one no longer explains anything.
func Differences() []Difference { return nil }

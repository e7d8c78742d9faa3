package oracle

// Difference is something in which the gateway differs from grpc-gateway on
// purpose, even in the profile that exists to be like it.
type Difference struct {
	Name   string
	Reason string
	// Explains reports whether the difference is why the pair mismatches so.
	Explains func(p *Pair, m Mismatch) bool
}

// Differences are all of them. A test fails when one no longer explains anything.
func Differences() []Difference {
	return []Difference{
		{
			Name: "hop-header",
			Reason: "grpc-gateway hands the content type of its own connection to upstream to the client, as Grpc-Metadata-Content-Type: " +
				"it says nothing about the answer, and connection headers never cross the gateway",
			Explains: func(_ *Pair, m Mismatch) bool { return m.Aspect == "header Grpc-Metadata-Content-Type" },
		},
	}
}

// Explain returns the name of the difference that explains a mismatch, or "".
func Explain(differences []Difference, p *Pair, m Mismatch) string {
	for _, d := range differences {
		if d.Explains(p, m) {
			return d.Name
		}
	}
	return ""
}

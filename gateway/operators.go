package gateway

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// WriteRoutes writes routes as a table for people.
func WriteRoutes(w io.Writer, routes []Route) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "HTTP\tPATH\tMETHOD\tKIND\tUPSTREAM")
	for _, r := range routes {
		upstream := r.Upstream
		if upstream == "" {
			upstream = "-"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", r.HTTPMethod, r.Template, r.Method, r.Kind, upstream)
	}
	return tw.Flush()
}

// Package httprule is the grammar of google.api.http path templates: it turns
// the text of a template into its segments, variables and verb, and back.
//
// It stands before the way of a request: schema reads templates with it when
// it builds bindings, router when it compiles them. It is pure, imports nothing
// of the house, knows no descriptors and matches no paths.
package httprule

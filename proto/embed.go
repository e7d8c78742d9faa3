// Package proto holds the sources of the house's own APIs. Of these, users
// import the policy options, so the binary carries their text.
package proto

import "embed"

// Policy is the text of transom/policy/v1, by import path.
//
//go:embed transom/policy/v1/*.proto
var Policy embed.FS

package config_test

import (
	"testing"

	"github.com/transomhq/transom/config"
)

// The example of docs/authn.md is a configuration without mistakes.
func TestAuthnFileIsValid(t *testing.T) {
	if _, err := (config.Source{Path: "authn.yaml"}).Load(); err != nil {
		t.Fatal(err)
	}
}

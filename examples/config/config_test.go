package config_test

import (
	"log/slog"
	"testing"

	"github.com/transomhq/transom/config"
	"github.com/transomhq/transom/gateway"
)

// The annotated file is one that the gateway accepts.
func TestFileIsValid(t *testing.T) {
	g, err := gateway.New(t.Context(), config.Source{
		Path: "transom.yaml", Overrides: config.Overrides{Listen: "127.0.0.1:0", Admin: "off"},
	}, gateway.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	g.Close()
}

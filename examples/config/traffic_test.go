package config_test

import (
	"testing"

	"github.com/transomhq/transom/config"
	"github.com/transomhq/transom/gateway"
)

// The example of docs/traffic.md is a configuration that the gateway accepts.
func TestTrafficFileIsValid(t *testing.T) {
	i, err := gateway.Inspect(t.Context(), config.Source{Path: "traffic.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	if e := i.Explain("GET", "/v1/orders/4711"); e.Route == nil || e.Route.Upstream != "orders-v1 (stable) 99%, orders-v2 (canary) 1%" {
		t.Errorf("explained as %+v", e)
	}
}

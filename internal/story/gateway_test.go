package story_test

import (
	"context"
	"encoding/json"
	"flag"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/transomhq/transom/config"
	"github.com/transomhq/transom/gateway"
	"github.com/transomhq/transom/internal/story"
)

var _ = flag.Bool("update", false, "rewrite what stories expect")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Every story runs through the whole gateway, with nothing left out.
func TestStories(t *testing.T) { story.Run(t, "testdata", openGateway) }

// openGateway starts a gateway as its configuration file says and returns its address.
func openGateway(s story.Setup) string {
	s.T.Helper()
	file := filepath.Join(s.T.TempDir(), "transom.yaml")
	if err := os.WriteFile(file, configuration(s), 0o600); err != nil {
		s.T.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	g, err := gateway.New(s.T.Context(), config.Source{Path: file}, gateway.WithLogger(quiet))
	if err != nil {
		s.T.Fatal("gateway: ", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	s.T.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			s.T.Error("gateway: ", err)
		}
	})
	return g.Addrs()[0].String()
}

// configuration writes a file (JSON is YAML) that serves the story's protos.
func configuration(s story.Setup) []byte {
	type object = map[string]any
	rest := object{"profile": s.Profile, "timeout_header": "X-Request-Timeout", "system_query": []string{"access_token"}}
	cfg := object{
		"listeners": []object{{"address": "127.0.0.1:0"}},
		"admin":     object{"disabled": true},
		"reload":    object{"watch": false},
		"schema":    object{"sources": []string{s.Schema.Dir}},
		"clusters":  []object{{"name": "story", "targets": []string{s.Backend}}},
		"rest":      rest,
	}
	for name, value := range s.Config {
		var v any
		if err := json.Unmarshal(value, &v); err != nil {
			s.T.Fatal(err)
		}
		if more, ok := v.(object); ok && name == "rest" {
			maps.Copy(rest, more)
			continue
		}
		cfg[name] = v
	}
	if s.Rest != nil {
		policy, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(s.Rest)
		if err != nil {
			s.T.Fatal(err)
		}
		cfg["policies"] = []object{{"selectors": []string{"*"}, "policy": object{"rest": json.RawMessage(policy)}}}
	}
	text, err := json.Marshal(cfg)
	if err != nil {
		s.T.Fatal(err)
	}
	return text
}

package gateway_test

import (
	"os"
	"os/exec"
	"testing"
)

// TestWebClient runs the tests of clients/web against a gateway.
func TestWebClient(t *testing.T) {
	const dir = "../clients/web"
	if _, err := os.Stat(dir + "/node_modules"); err != nil {
		t.Fatal("clients/web is not installed: `make web` does it")
	}
	g := startFeed(t, "", nil)
	cmd := exec.CommandContext(t.Context(), "npm", "test", "--silent")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TRANSOM_URL="+g.url)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

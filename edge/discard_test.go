package edge_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/transomhq/transom/edge"
	"github.com/transomhq/transom/rpc"
)

// An answer does not wait for a body that nobody wants and that does not come;
// where it does come, the connection lives on.
func TestUnwantedBodyHoldsUpNothing(t *testing.T) {
	_, addr := start(t, edge.Options{Handler: func(w http.ResponseWriter, r *http.Request, _ *rpc.Call) { w.WriteHeader(404) }})
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second)) // far more than it takes
	in := bufio.NewReader(conn)
	next := func() *http.Response {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp
	}
	send := func(s string) {
		if _, err := io.WriteString(conn, s); err != nil {
			t.Fatal(err)
		}
	}
	const head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"
	send(head + "ab")
	time.AfterFunc(200*time.Millisecond, func() { _, _ = io.WriteString(conn, "cd") })
	if resp := next(); resp.StatusCode != 404 || resp.Close {
		t.Fatalf("%s, closes %v", resp.Status, resp.Close)
	}
	time.Sleep(1500 * time.Millisecond) // longer than the body may take: an idle connection is not meant
	send(head + "ab")
	if resp := next(); resp.StatusCode != 404 || !resp.Close {
		t.Fatalf("%s, closes %v", resp.Status, resp.Close)
	}
}

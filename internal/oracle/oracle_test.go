package oracle

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/grpclog"
	"google.golang.org/protobuf/proto"
)

const (
	corpusSeed = 20261121
	corpusSize = 6000
)

func TestMain(m *testing.M) {
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard)) // the oracle logs every bad request
	goleak.VerifyTestMain(m)
}

func startUpstream(t *testing.T) *Upstream {
	t.Helper()
	upstream, err := NewUpstream()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := upstream.Close(); err != nil {
			t.Error(err)
		}
	})
	return upstream
}

// startOracle serves grpc-gateway before upstream and returns its URL.
func startOracle(t *testing.T, upstream *Upstream) string {
	t.Helper()
	conn, err := grpc.NewClient(upstream.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	mux, err := NewMux(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		server.Close()
		_ = conn.Close()
	})
	return server.URL
}

func newClient(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// The same seed makes the same corpus, to the byte.
func TestCorpusIsDeterministic(t *testing.T) {
	a, b := Corpus(corpusSeed, corpusSize), Corpus(corpusSeed, corpusSize)
	for i := range a {
		if a[i].Path != b[i].Path || a[i].Query != b[i].Query || a[i].Kind != b[i].Kind || !bytes.Equal(a[i].Body, b[i].Body) {
			t.Fatalf("%s\n%s", a[i], b[i])
		}
		for j := range a[i].Reply.Messages {
			if !proto.Equal(a[i].Reply.Messages[j], b[i].Reply.Messages[j]) {
				t.Fatalf("reply of %s differs", a[i])
			}
		}
	}
}

// The corpus must hold enough of each kind, and its valid requests must be
// valid: nearly all of them reach upstream through the oracle.
func TestCorpusIsWorthSending(t *testing.T) {
	upstream := startUpstream(t)
	url, client := startOracle(t, upstream), newClient(t)
	kinds, unary, valid, reached, outcomes := map[string]int{}, 0, 0, 0, map[int]int{}
	for _, c := range Corpus(corpusSeed, corpusSize) {
		kinds[c.Kind]++
		if c.Streams {
			continue
		}
		unary++
		o, err := Send(t.Context(), client, url, upstream, c)
		if err != nil {
			t.Fatal(err)
		}
		outcomes[o.Status]++
		if c.Kind == "valid" {
			valid++
			if len(o.Calls) == 1 {
				reached++
			} else if testing.Verbose() {
				t.Logf("valid, but refused: %s\n%s", c, o)
			}
		}
	}
	t.Logf("%d unary cases, %d valid, %d of them reach upstream; status: %v", unary, valid, reached, outcomes)
	if unary < 2000 {
		t.Errorf("%d unary cases, want at least 2000", unary)
	}
	if reached*100 < valid*90 {
		t.Errorf("%d of %d valid cases reach upstream", reached, valid)
	}
	for kind, n := range kinds {
		if n < 5 && !strings.HasPrefix(kind, "handmade: ") {
			t.Errorf("only %d cases of %q", n, kind)
		}
	}
}

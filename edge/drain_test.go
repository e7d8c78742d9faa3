package edge_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/transomhq/transom/edge"
	"github.com/transomhq/transom/rpc"
)

func TestDrainFinishesWhatIsInFlight(t *testing.T) {
	eachProtocol(t, func(t *testing.T, c *http.Client) {
		entered, release := make(chan struct{}), make(chan struct{})
		s, addr := start(t, edge.Options{Handler: func(w http.ResponseWriter, r *http.Request, call *rpc.Call) {
			if r.URL.Path == "/slow" {
				close(entered)
				<-release
			}
			echo(w, r, call)
		}})
		get(t, c, "http://"+addr+"/") // a connection that is reused
		got := make(chan string, 1)
		go func() {
			resp, err := c.Get("http://" + addr + "/slow")
			if err != nil {
				got <- err.Error()
				return
			}
			b, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			got <- string(b)
		}()
		<-entered
		drained := make(chan error, 1)
		go func() { drained <- s.Drain(context.Background()) }()
		<-s.Draining()
		waitFor(t, "the listener to close", func() bool {
			_, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + addr + "/")
			return err != nil
		})
		select {
		case err := <-drained:
			t.Fatal("drained before the request ended:", err)
		default:
		}
		close(release)
		if body := <-got; !strings.Contains(body, "GET /slow 0") {
			t.Error(body)
		}
		if err := <-drained; err != nil {
			t.Error(err)
		}
	})
}

func TestDrainIsBounded(t *testing.T) {
	entered := make(chan struct{})
	s, addr := start(t, edge.Options{Handler: func(w http.ResponseWriter, r *http.Request, call *rpc.Call) {
		close(entered)
		<-r.Context().Done()
	}})
	c := dial(t, addr)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	<-entered
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := s.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestDrainTellsUpgradedConnections(t *testing.T) {
	servers := make(chan *edge.Server, 1)
	s, addr := start(t, edge.Options{Handler: func(w http.ResponseWriter, r *http.Request, call *rpc.Call) {
		s := <-servers
		nc, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer nc.Close()
		ended := make(chan struct{})
		stop := s.OnDrain(func() { close(ended) })
		defer stop()
		_, _ = io.WriteString(nc, "open ")
		<-ended
		_, _ = io.WriteString(nc, "bye")
	}})
	servers <- s
	c := dial(t, addr)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
	if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	if err := s.Drain(context.Background()); err != nil {
		t.Error(err)
	}
	if b, _ := io.ReadAll(c); string(b) != "bye" {
		t.Errorf("%q", b)
	}
}

func TestDrainDelayStillAccepts(t *testing.T) {
	s, addr := start(t, edge.Options{Handler: echo, DrainDelay: 300 * time.Millisecond})
	drained := make(chan error, 1)
	go func() { drained <- s.Drain(context.Background()) }()
	<-s.Draining()
	if status, _, h := get(t, client(t, false), "http://"+addr+"/"); status != 200 || h.Get("Connection") == "close" {
		t.Error("not served while load balancers still send:", status, h)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// A drain in the middle of traffic on connections that are kept alive fails no
// request that was sent on one of them.
func TestDrainUnderLoad(t *testing.T) {
	eachProtocol(t, func(t *testing.T, c *http.Client) {
		s, addr := start(t, edge.Options{Handler: func(w http.ResponseWriter, r *http.Request, call *rpc.Call) {
			time.Sleep(time.Millisecond)
			echo(w, r, call)
		}})
		c.Transport.(*http.Transport).MaxIdleConnsPerHost = 16
		var served atomic.Int64
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for {
					resp, err := c.Post("http://"+addr+"/", "text/plain", strings.NewReader("hello"))
					if err != nil {
						if !strings.Contains(err.Error(), "connection refused") {
							t.Error("in flight:", err)
						}
						return
					}
					_, err = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
					if err != nil {
						t.Error("in flight:", err)
					}
					served.Add(1)
				}
			})
		}
		waitFor(t, "traffic", func() bool { return served.Load() > 200 })
		if err := s.Drain(context.Background()); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
}

func TestDrainAnswersIdleConnectionsOnceMore(t *testing.T) {
	s, addr := start(t, edge.Options{Handler: echo})
	c := dial(t, addr)
	br := bufio.NewReader(c)
	ask := func() *http.Response {
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp
	}
	if ask().Close {
		t.Error("closed before the drain")
	}
	told := make(chan struct{})
	s.OnDrain(func() { close(told) })
	drained := make(chan error, 1)
	go func() { drained <- s.Drain(context.Background()) }()
	<-told
	if !ask().Close {
		t.Error("the last answer does not say that it is the last")
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

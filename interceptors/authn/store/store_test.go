package store_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/transomhq/transom/interceptors/authn/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// redisServer starts a real server and returns its address.
func redisServer(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatal("redis-server is not installed: `make packages` does it")
	}
	for range 3 { // between finding a free port and its use, another may take it
		if addr, ok := tryRedis(t); ok {
			return addr
		}
	}
	t.Fatal("redis-server does not listen")
	return ""
}

func tryRedis(t *testing.T) (string, bool) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr)
	l.Close()
	cmd := exec.Command("redis-server", "--bind", "127.0.0.1", "--port", strconv.Itoa(addr.Port), "--save", "", "--dir", t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for range 1000 {
		if c, err := net.Dial("tcp", addr.String()); err == nil {
			c.Close()
			return addr.String(), true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return "", false
}

// TestStores holds every store to its contract; two handles of each stand for
// two processes.
func TestStores(t *testing.T) {
	for name, open := range map[string]func(*testing.T) (a, b store.Store){
		"file": func(t *testing.T) (a, b store.Store) {
			path := filepath.Join(t.TempDir(), "authn.db")
			return store.NewFile(path), store.NewFile(path)
		},
		"redis": func(t *testing.T) (a, b store.Store) {
			o := store.RedisOptions{Address: redisServer(t), Prefix: "t:"}
			return store.NewRedis(o), store.NewRedis(o)
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := open(t)
			defer a.Close()
			defer b.Close()
			contract(t, a, b)
			counted(t, a, b)
			watched(t, a, b)
		})
	}
}

func set(text string) func([]byte) ([]byte, error) {
	return func([]byte) ([]byte, error) { return []byte(text), nil }
}

func contract(t *testing.T, a, b store.Store) {
	ctx := t.Context()
	if all, err := a.All(ctx, "x"); err != nil || len(all) != 0 {
		t.Errorf("empty: %v %v", all, err)
	}
	before, err := b.Version(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Update(ctx, "x", "one", set("1")); err != nil {
		t.Fatal(err)
	}
	if after, err := b.Version(ctx); err != nil || after == before {
		t.Errorf("a change is not seen: %q %v", after, err)
	}
	refused := errors.New("no")
	if err := b.Update(ctx, "x", "one", func(old []byte) ([]byte, error) {
		if string(old) != "1" {
			t.Errorf("old is %q", old)
		}
		return nil, refused
	}); !errors.Is(err, refused) {
		t.Errorf("got %v", err)
	}
	if all, err := b.All(ctx, "x"); err != nil || string(all["one"]) != "1" || len(all) != 1 {
		t.Errorf("after a refused change: %v %v", all, err)
	}
	if all, err := b.All(ctx, "y"); err != nil || len(all) != 0 {
		t.Errorf("another bucket: %v %v", all, err)
	}
	if err := b.Update(ctx, "x", "one", func([]byte) ([]byte, error) { return nil, nil }); err != nil {
		t.Fatal(err)
	}
	if all, err := a.All(ctx, "x"); err != nil || len(all) != 0 {
		t.Errorf("after a removal: %v %v", all, err)
	}
}

// counted loses no change of two that are made together.
func counted(t *testing.T, a, b store.Store) {
	var wg sync.WaitGroup
	for _, s := range []store.Store{a, b} {
		wg.Go(func() {
			for range 10 {
				err := s.Update(t.Context(), "n", "n", func(old []byte) ([]byte, error) {
					n, _ := strconv.Atoi(string(old))
					return fmt.Append(nil, n+1), nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if all, err := a.All(t.Context(), "n"); err != nil || string(all["n"]) != "20" {
		t.Errorf("counted %s of 20: %v", all["n"], err)
	}
}

// watched learns of another process's change within a second.
func watched(t *testing.T, a, b store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	news := make(chan string, 10)
	done := make(chan struct{})
	go func() {
		defer close(done)
		store.Watch(ctx, a, slog.New(slog.DiscardHandler), func(ctx context.Context) error {
			all, err := a.All(ctx, "w")
			news <- string(all["k"])
			return err
		}, func() {})
	}()
	if first := <-news; first != "" {
		t.Errorf("at first: %q", first)
	}
	if err := b.Update(t.Context(), "w", "k", set("new")); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-news:
		if got != "new" {
			t.Errorf("got %q", got)
		}
	case <-time.After(5 * time.Second):
		t.Error("the change was not noticed")
	}
	cancel()
	<-done
}

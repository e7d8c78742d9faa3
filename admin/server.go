package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Server is the admin listener.
type Server struct {
	opts     Options
	mux      *http.ServeMux
	http     *http.Server
	listener net.Listener

	mu    sync.RWMutex
	pages []page
	check []Check
}

// page is a line of the index.
type page struct{ Path, Methods, About string }

// New checks opts and makes the pages. It opens nothing yet.
func New(opts Options) (*Server, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{opts: opts, mux: http.NewServeMux(), check: slices.Clone(opts.Checks)}
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.serveHTTP),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(opts.Logger.Handler(), slog.LevelDebug),
	}
	s.addPages()
	return s, nil
}

// Handle adds a page for the paths that pattern matches, as in http.ServeMux
// without method and host. about is its line on the index; "" leaves it out. The
// handler decides about methods itself. Requests for other hosts never reach
// it. It panics, as ServeMux does, when pattern clashes; call it before Serve.
func (s *Server) Handle(pattern, about string, h http.Handler) {
	s.mux.Handle(pattern, h)
	s.addIndex(pattern, "", about)
}

// AddCheck adds a readiness check; it may be called at any time.
func (s *Server) AddCheck(c Check) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.check = append(s.check, c)
}

// Listen opens the listener, so that Addr knows its port.
func (s *Server) Listen() error {
	if s.listener != nil {
		return nil
	}
	network, address := "tcp", s.opts.Address
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", path
		removeStale(path)
	}
	l, err := net.Listen(network, address)
	if err != nil {
		return fmt.Errorf("admin: listen at %s: %w", s.opts.Address, err)
	}
	if network == "unix" {
		if err := os.Chmod(address, 0o600); err != nil {
			_ = l.Close()
			return fmt.Errorf("admin: %w", err)
		}
	}
	s.listener = l
	return nil
}

// removeStale removes a socket that nobody listens at any more.
func removeStale(path string) {
	if fi, err := os.Lstat(path); err != nil || fi.Mode()&os.ModeSocket == 0 {
		return
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = c.Close()
		return
	}
	_ = os.Remove(path)
}

// Addr returns the address that is listened at; nil before Listen.
func (s *Server) Addr() net.Addr {
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// Serve serves until ctx ends, gives requests in progress 5 s, and returns nil.
func (s *Server) Serve(ctx context.Context) error {
	if err := s.Listen(); err != nil {
		return err
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if s.http.Shutdown(grace) != nil {
			_ = s.http.Close()
		}
	})
	err := s.http.Serve(s.listener)
	if !stop() {
		<-ended
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("admin: %w", err)
}

// serveHTTP refuses requests for hosts that are not this server's, and answers.
func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	if !s.allowedHost(r.Host) {
		fail(w, http.StatusForbidden, 7, fmt.Sprintf("host %q is not allowed: ask by IP address, by localhost, or list the name in the admin hosts", r.Host))
		return
	}
	// A browser says where a request comes from; a page of another origin has
	// no business here (it could set the log level).
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		fail(w, http.StatusForbidden, 7, "requests from other sites are not allowed")
		return
	}
	s.mux.ServeHTTP(w, r)
}

// allowedHost reports whether host is an IP address, localhost or a listed name.
func (s *Server) allowedHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if _, err := netip.ParseAddr(host); err == nil || strings.EqualFold(host, "localhost") {
		return true
	}
	if strings.HasPrefix(s.opts.Address, "unix:") {
		return true // no browser speaks to a socket of the file system
	}
	return slices.ContainsFunc(s.opts.Hosts, func(h string) bool { return strings.EqualFold(h, host) })
}

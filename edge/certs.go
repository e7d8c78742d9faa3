package edge

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
)

// TLS says how a listener speaks TLS. The files are read again when they
// change; a pair that does not load leaves the old one serving.
type TLS struct {
	// Certificates by name (SNI); the first serves clients that ask for none of
	// the names. At least one.
	Certificates []Certificate
	// ClientCAs are PEM files of authorities. With them, clients are asked for
	// a certificate, and one that they do not vouch for is refused.
	ClientCAs []string
	// RequireClientCert refuses clients without a certificate, too.
	RequireClientCert bool
	// MinVersion is tls.VersionTLS12 (the default) or tls.VersionTLS13.
	MinVersion uint16
	// ReloadInterval is how often the files are looked at, should the file
	// system not tell of a change. Default 1 min.
	ReloadInterval time.Duration
}

// Certificate is a pair of PEM files: a chain, leaf first, and its key.
type Certificate struct{ CertFile, KeyFile string }

// certs are the certificates of one listener, as they were last read whole.
type certs struct {
	opts    TLS
	log     *slog.Logger
	config  *tls.Config // what listeners get; asks for current at each handshake
	current atomic.Pointer[tls.Config]
	sum     [sha256.Size]byte // of the files that current was made of, or that were refused
}

func newCerts(opts TLS, log *slog.Logger) (*certs, error) {
	opts.MinVersion = cmp.Or(opts.MinVersion, tls.VersionTLS12)
	opts.ReloadInterval = cmp.Or(opts.ReloadInterval, time.Minute)
	switch {
	case len(opts.Certificates) == 0:
		return nil, errors.New("edge: TLS without a certificate")
	case opts.MinVersion < tls.VersionTLS12:
		return nil, fmt.Errorf("edge: TLS version %s is not safe: want at least 1.2", tls.VersionName(opts.MinVersion))
	case opts.RequireClientCert && len(opts.ClientCAs) == 0:
		return nil, errors.New("edge: client certificates are required, but no authority for them is given")
	}
	c := &certs{opts: opts, log: log}
	files, err := c.read()
	if err != nil {
		return nil, err
	}
	config, err := c.build(files)
	if err != nil {
		return nil, err
	}
	c.current.Store(config)
	c.sum = files.sum()
	c.config = &tls.Config{
		MinVersion:         opts.MinVersion,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.current.Load(), nil },
	}
	return c, nil
}

// pemFiles are the contents of all files, in the order of TLS.
type pemFiles struct {
	names []string
	texts [][]byte
}

func (f pemFiles) sum() (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, t := range f.texts {
		fmt.Fprintf(h, "%d:", len(t))
		h.Write(t)
	}
	h.Sum(sum[:0])
	return sum
}

func (c *certs) read() (pemFiles, error) {
	var f pemFiles
	for _, p := range c.opts.Certificates {
		f.names = append(f.names, p.CertFile, p.KeyFile)
	}
	f.names = append(f.names, c.opts.ClientCAs...)
	for _, name := range f.names {
		text, err := os.ReadFile(name)
		if err != nil {
			return f, fmt.Errorf("edge: TLS: %w", err)
		}
		f.texts = append(f.texts, text)
	}
	return f, nil
}

// build makes a configuration of what was read, all or nothing.
func (c *certs) build(f pemFiles) (*tls.Config, error) {
	config := &tls.Config{MinVersion: c.opts.MinVersion, NextProtos: []string{"h2", "http/1.1"}}
	for i := range c.opts.Certificates {
		pair, err := tls.X509KeyPair(f.texts[2*i], f.texts[2*i+1])
		if err != nil {
			return nil, fmt.Errorf("edge: TLS: %s and %s: %w", f.names[2*i], f.names[2*i+1], err)
		}
		if now := time.Now(); now.After(pair.Leaf.NotAfter) {
			c.log.Warn("certificate has expired", "file", f.names[2*i], "not_after", pair.Leaf.NotAfter)
		}
		config.Certificates = append(config.Certificates, pair)
	}
	n := 2 * len(c.opts.Certificates)
	if n == len(f.names) {
		return config, nil
	}
	config.ClientCAs = x509.NewCertPool()
	config.ClientAuth = tls.VerifyClientCertIfGiven
	if c.opts.RequireClientCert {
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	for i := n; i < len(f.names); i++ {
		if !config.ClientCAs.AppendCertsFromPEM(f.texts[i]) {
			return nil, fmt.Errorf("edge: TLS: %s: no certificate in it", f.names[i])
		}
	}
	return config, nil
}

// reload reads the files again. What is the same is left alone, also what was
// refused before.
func (c *certs) reload() {
	files, err := c.read()
	if err != nil {
		c.log.Error("certificates not reloaded, the old ones serve on", "error", err)
		return
	}
	sum := files.sum()
	if sum == c.sum {
		return
	}
	config, err := c.build(files)
	if err != nil {
		c.log.Error("certificates not reloaded, the old ones serve on", "error", err)
		c.sum = sum
		return
	}
	c.current.Store(config)
	c.sum = sum
	leaf := config.Certificates[0].Leaf
	c.log.Info("certificates reloaded", "subject", leaf.Subject.String(), "not_after", leaf.NotAfter)
}

// watch reloads until ctx ends: soon after the folders of the files changed
// (folders, since Kubernetes swaps a symlink there), and now and then.
func (c *certs) watch(ctx context.Context) {
	ticker := time.NewTicker(c.opts.ReloadInterval)
	defer ticker.Stop()
	var events chan fsnotify.Event
	var failures chan error
	if w, err := fsnotify.NewWatcher(); err != nil {
		c.log.Warn("certificate files are not watched, only looked at", "every", c.opts.ReloadInterval, "error", err)
	} else {
		defer func() { _ = w.Close() }()
		events, failures = w.Events, w.Errors
		for _, dir := range c.folders() {
			if err := w.Add(dir); err != nil {
				c.log.Warn("folder of certificates is not watched", "folder", dir, "error", err)
			}
		}
	}
	c.reload() // what changed before the folders were watched
	// Both files of a pair are rarely written at once: wait until it is quiet.
	quiet := time.NewTimer(time.Hour)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-events:
			quiet.Reset(100 * time.Millisecond)
		case err := <-failures:
			c.log.Warn("watching certificate files", "error", err)
		case <-quiet.C:
			c.reload()
		case <-ticker.C:
			c.reload()
		}
	}
}

func (c *certs) folders() []string {
	seen := map[string]bool{}
	var dirs []string
	add := func(names ...string) {
		for _, name := range names {
			if dir := filepath.Dir(name); !seen[dir] {
				seen[dir] = true
				dirs = append(dirs, dir)
			}
		}
	}
	for _, p := range c.opts.Certificates {
		add(p.CertFile, p.KeyFile)
	}
	add(c.opts.ClientCAs...)
	return dirs
}

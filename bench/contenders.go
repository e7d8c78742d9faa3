package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// fleet is the backend and everything that is measured in front of it.
type fleet struct {
	dir     string
	self    string // this program
	backend *process
	all     map[string]*process
}

func command(dir, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, os.Stderr, os.Stderr
	return cmd.Run()
}

func newFleet(dir string) (*fleet, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	f := &fleet{dir: dir, self: self, all: map[string]*process{}}
	f.backend, err = f.role("backend", "backend", "", nil)
	return f, err
}

func (f *fleet) stop() {
	for _, p := range f.all {
		p.stop()
	}
	if f.backend != nil {
		f.backend.stop()
	}
}

// role starts a contender that this program holds itself.
func (f *fleet) role(name, role, backend string, env []string) (*process, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	stats, err := freeAddr()
	if err != nil {
		return nil, err
	}
	p := &process{name: name, addr: addr, stats: "http://" + stats, key: mallocsKey}
	return p, p.start(f.dir, env, f.self, role, addr, stats, backend)
}

// peer starts a contender unless it is there already.
func (f *fleet) peer(name string, o *options) (*process, error) {
	if p := f.all[name]; p != nil {
		return p, nil
	}
	var p *process
	var err error
	switch name {
	case "grpc-gateway", "vanguard", "raw", "floor", "relay":
		p, err = f.role(name, name, f.backend.addr, nil)
	case "grpc-gateway GOGC=400":
		p, err = f.role(name, "grpc-gateway", f.backend.addr, []string{"GOGC=400"})
	case "nginx":
		p, err = f.nginx()
	case "haproxy":
		p, err = f.haproxy()
	default:
		for _, b := range o.binaries {
			switch name {
			case b.name:
				p, err = f.transom(b, name, shopConfig(o.repo, true, "grpc"))
			case b.name + " quiet":
				p, err = f.transom(b, name, shopConfig(o.repo, false, "grpc"))
			case b.name + " lean":
				p, err = f.transom(b, name, shopConfig(o.repo, true, "lean"))
			}
		}
	}
	if p != nil {
		f.all[name] = p
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

// shopConfig is the gateway's configuration for the example shop. All is as it
// comes (metrics, access log, the deadlines of the shop's protos), but for
// validation, which no peer does.
func shopConfig(repo string, access bool, transport string) func(addr, admin, backend string) string {
	return func(addr, admin, backend string) string {
		return fmt.Sprintf(`
listeners: [{address: %q}]
admin: {address: %q}
schema:
  sources: [%q]
  include: [shop.catalog.v1.*, shop.orders.v1.*, shop.tracking.v1.*]
clusters: [{name: shop, targets: [%q], transport: %s}]
logging: {access: %v}
policies: [{selectors: ["*"], policy: {validation: {mode: MODE_OFF}}}]
`, addr, admin, must(filepath.Abs(filepath.Join(repo, "proto"))), backend, transport, access)
	}
}

func (f *fleet) transom(b binary, name string, config func(addr, admin, backend string) string) (*process, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	admin, err := freeAddr()
	if err != nil {
		return nil, err
	}
	file, err := f.file("transom.yaml", config(addr, admin, f.backend.addr))
	if err != nil {
		return nil, err
	}
	p := &process{name: name, addr: addr, stats: "http://" + admin + "/metrics", key: mallocsKey}
	return p, p.start(f.dir, nil, b.path, "serve", "-c", file)
}

// nginx has one worker, in one process: what it uses is counted whole.
func (f *fleet) nginx() (*process, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	file, err := f.file("nginx.conf", fmt.Sprintf(`
daemon off; master_process off; pid %[1]s/nginx.pid; error_log %[1]s/nginx-error.log;
events { worker_connections 1024; }
http {
  access_log off; keepalive_requests 1000000000; http2_max_requests 1000000000;
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  upstream shop { server %[3]s; keepalive 128; keepalive_requests 1000000000; }
  server { listen %[2]s http2; location / { grpc_pass grpc://shop; } }
}
`, f.dir, addr, f.backend.addr))
	if err != nil {
		return nil, err
	}
	p := &process{name: "nginx", addr: addr}
	return p, p.start(f.dir, nil, "nginx", "-c", file)
}

func (f *fleet) haproxy() (*process, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	file, err := f.file("haproxy.cfg", fmt.Sprintf(`
global
  nbthread 2
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend in
  bind %s proto h2
  default_backend shop
backend shop
  server one %s proto h2
`, addr, f.backend.addr))
	if err != nil {
		return nil, err
	}
	p := &process{name: "haproxy", addr: addr}
	return p, p.start(f.dir, nil, "haproxy", "-db", "-f", file)
}

// file writes a new file that the fleet's processes read.
func (f *fleet) file(name, text string) (string, error) {
	dir, err := os.MkdirTemp(f.dir, "of")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// Command demo shows the gateway at work: it builds and starts the example
// shop's three services as processes of their own, puts the gateway in front
// of them, and prints requests to try. `make run` runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const readyTimeout = 30 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	listen := flags.String("listen", "127.0.0.1:8080", "the gateway's address; a port that is taken is replaced by a free one")
	admin := flags.String("admin", "127.0.0.1:9090", "the address of the gateway's admin listener, likewise")
	seed := flags.Uint64("seed", 1, "seed of the shop's data")
	if err := flags.Parse(args); err != nil {
		if err == flag.ErrHelp { //nolint:errorlint // Parse returns it as it is
			return nil
		}
		return err
	}
	bin, err := os.MkdirTemp("", "transom-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(bin)
	say(stdout, "building the gateway and the shop's services ...")
	if err := build(ctx, bin, stderr); err != nil {
		return err
	}
	d := &demo{bin: bin, seed: fmt.Sprint(*seed), stdout: stdout, stderr: stderr, family: newFamily(stderr)}
	d.listen = d.address("gateway", *listen)
	d.admin = d.address("admin listener", *admin)
	return d.run(ctx)
}

// say writes for a person; a closed terminal is no reason to stop.
func say(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) }

// build compiles all programs into the folder bin.
func build(ctx context.Context, bin string, stderr io.Writer) error {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("go list: %w (run the demo inside the repository)", err)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", bin+string(filepath.Separator),
		"./cmd/transom", "./examples/shop/catalog", "./examples/shop/orders", "./examples/shop/tracking")
	cmd.Dir = strings.TrimSpace(string(root))
	cmd.Stdout, cmd.Stderr = stderr, stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build: %w", err)
	}
	return nil
}

// demo is a running demonstration.
type demo struct {
	bin, seed      string
	listen, admin  string
	stdout, stderr io.Writer
	family         *family
}

// address returns the address if nobody listens there, else one with a free port.
func (d *demo) address(what, address string) string {
	lis, err := net.Listen("tcp", address)
	if err != nil {
		host, _, splitErr := net.SplitHostPort(address)
		if splitErr != nil {
			return address // the gateway will say what is wrong with it
		}
		if lis, err = net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
			return address
		}
		say(d.stdout, "%s is taken: the %s listens on %s instead", address, what, lis.Addr())
	}
	defer lis.Close()
	return lis.Addr().String()
}

func (d *demo) run(ctx context.Context) error {
	defer d.family.stop()
	backends, err := d.startShop(ctx)
	if err != nil {
		return err
	}
	if err := d.startGateway(ctx, backends); err != nil {
		return err
	}
	d.welcome(backends)
	select {
	case <-ctx.Done():
		say(d.stdout, "\nstopping ...")
		return nil
	case died := <-d.family.died:
		return died
	}
}

// services are the shop's, with the package of each.
func services() []string { return []string{"catalog", "orders", "tracking"} }

// startShop starts the services and returns their addresses by name.
func (d *demo) startShop(ctx context.Context) (map[string]string, error) {
	epoch := time.Now().UTC().Truncate(time.Second).Format(time.RFC3339)
	backends := map[string]string{}
	for _, name := range services() {
		args := []string{"--listen", "127.0.0.1:0", "--seed", d.seed}
		if name == "tracking" {
			args = append(args, "--epoch", epoch)
		}
		child, err := d.family.start(name, filepath.Join(d.bin, name), args...)
		if err != nil {
			return nil, err
		}
		if backends[name], err = d.family.await(ctx, child.listening); err != nil {
			return nil, err
		}
	}
	return backends, nil
}

// startGateway starts the gateway and waits until it is ready. It learns the
// schema from the services themselves, by server reflection.
func (d *demo) startGateway(ctx context.Context, backends map[string]string) error {
	args := []string{"serve", "--listen", d.listen, "--admin", d.admin}
	for _, name := range services() {
		args = append(args, "--schema", "grpc://"+backends[name], "--upstream", fmt.Sprintf("shop.%s.v1.*=%s", name, backends[name]))
	}
	if _, err := d.family.start("transom", filepath.Join(d.bin, "transom"), args...); err != nil {
		return err
	}
	ready := make(chan string, 1)
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	go poll(ctx, "http://"+d.admin+"/readyz", ready)
	if _, err := d.family.await(ctx, ready); err != nil {
		return fmt.Errorf("the gateway is not ready: %w", err)
	}
	return nil
}

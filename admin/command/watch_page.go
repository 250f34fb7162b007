package command

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"github.com/earlybird/earlybird/admin/doctor"
	"github.com/earlybird/earlybird/admin/page"
	"github.com/earlybird/earlybird/admin/watch"
)

// checkEvery is the time between two looks of the doctor for the page. A look
// reads the log as well, and takes at most a few times doctor.Timeout.
const checkEvery = 30 * time.Second

// pageAddress reads --http. Every address that other machines may reach needs
// --listen-anywhere.
func pageAddress(c *cli.Context) (*net.TCPAddr, error) {
	const example = "write a host and a port, such as 127.0.0.1:9180"
	typed := c.String("http")
	address, err := net.ResolveTCPAddr("tcp", typed)
	if err != nil || typed == "" {
		return nil, usage("--http: %q is not an address: %s", typed, example)
	}
	if !address.IP.IsLoopback() && !c.Bool("listen-anywhere") {
		err := usage("--http: other machines may reach %s", typed)
		return nil, withHint(err, "127.0.0.1:%d is for this machine alone; with --listen-anywhere whoever has the page's URL can read it", address.Port)
	}
	return address, nil
}

// watchInBrowser does what watch.Run does, and serves a page beside it.
func watchInBrowser(ctx context.Context, c *cli.Context, address *net.TCPAddr, checks []doctor.Check, cfg watch.Config) error {
	listener, err := net.ListenTCP("tcp", address)
	if err != nil {
		return withHint(fmt.Errorf("--http: %w", err), "is another program using it? Name another port; port 0 takes one that is free")
	}
	defer func() { _ = listener.Close() }() // Serve may never have begun
	token := ""
	if c.Bool("listen-anywhere") {
		token = rand.Text()
	}
	p := page.New(token)
	g, ctx := errgroup.WithContext(ctx)
	cfg.View = &both{terminal: cfg.View, page: p, begin: func() {
		say(c.App.ErrWriter, "The page: %s\n", pageURL(listener.Addr(), token))
		g.Go(func() error { return p.Serve(ctx, listener) })
		g.Go(func() error { return keepChecking(ctx, p, checks) })
	}}
	g.Go(func() error {
		if err := watch.Run(ctx, cfg); err != nil {
			return err
		}
		return watch.ErrStop // ends the page too
	})
	if err := g.Wait(); !errors.Is(err, watch.ErrStop) {
		return err
	}
	return nil
}

// pageURL is where a browser finds the page: by this machine's own address where
// it listens on all.
func pageURL(at net.Addr, token string) string {
	host, port, _ := net.SplitHostPort(at.String())
	if net.ParseIP(host).IsUnspecified() {
		host = outwardIP()
	}
	path := "/"
	if token != "" {
		path = "/" + token + "/"
	}
	return "http://" + net.JoinHostPort(host, port) + path
}

// outwardIP is an address that this machine has for others.
func outwardIP() string {
	all, _ := net.InterfaceAddrs()
	for _, at := range all {
		if network, ok := at.(*net.IPNet); ok && network.IP.IsGlobalUnicast() {
			return network.IP.String()
		}
	}
	return "127.0.0.1"
}

// keepChecking lets the doctor look until ctx ends.
func keepChecking(ctx context.Context, p *page.Page, checks []doctor.Check) error {
	for {
		results := doctor.Examine(ctx, checks)
		if ctx.Err() != nil {
			return nil
		}
		if err := p.Checked(results, time.Now()); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(checkEvery):
		}
	}
}

// both shows samples on the terminal and on the page, which begins with the first
// of them.
type both struct {
	terminal, page watch.View
	begin          func()
}

// Show implements watch.View.
func (b *both) Show(s watch.Sample) error {
	if err := b.page.Show(s); err != nil {
		return err
	}
	if b.begin != nil {
		b.begin()
		b.begin = nil
	}
	return b.terminal.Show(s)
}

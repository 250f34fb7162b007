// Package gateway stands in for Kong on one machine: it reads the same
// kong.yml, checks it against the plugins' own schemas, and runs requests
// through the real plugin programs over Kong's plugin protocol.
//
// It behaves as Kong 3.9 with kong/kong.conf does in what Earlybird relies on:
// routes, the order and phases of plugins, what an exit or a failure in one
// leads to, which headers are dropped when, how upstreams fail. It is for
// trying and testing. It speaks HTTP/1.1 without TLS and answers errors as
// JSON only.
//
// Requests are read by net/http, not by nginx, and differ where the former
// judges before the gateway does:
//
//   - A header that is folded over two lines (obs-fold, RFC 9112 section 5.2)
//     is joined and taken; Kong answers 400.
//   - Content-Length beside Transfer-Encoding: the former is dropped and the
//     request taken; nginx answers 400.
//   - A NUL in a header, a space before a header's colon, two different
//     Content-Lengths: 400 as with Kong, but as text, without Kong's JSON body
//     and without X-Kong-Request-Id.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/earlybird/earlybird/kong"
	"github.com/earlybird/earlybird/plugin/schema"
)

// Config is what a Gateway is made of.
type Config struct {
	Declarative []byte              // kong.yml
	External    map[string]External // the external plugins by name
	Getenv      func(string) string // where {vault://env/...} looks; nil: nowhere
	Now         func() time.Time
	Log         *slog.Logger
}

// Gateway is an http.Handler that answers as Kong would.
type Gateway struct {
	matches     []match
	upstreams   []*upstream
	client      http.RoundTripper
	notEmulated []string
	now         func() time.Time
	log         *slog.Logger
}

// New checks the declarative file and builds the gateway. The error lists every
// fault in the file, as `earlybird kong validate` does, or what of it the
// stand-in does not know.
func New(cfg Config) (*Gateway, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Getenv == nil {
		cfg.Getenv = func(string) string { return "" }
	}
	if err := checkFile(cfg); err != nil {
		return nil, err
	}
	file, err := parse(cfg.Declarative)
	if err != nil {
		return nil, err
	}
	b := &builder{cfg: cfg, gateway: &Gateway{now: cfg.Now, log: cfg.Log, client: newTransport()}}
	b.build(file)
	if err := errors.Join(b.faults...); err != nil {
		return nil, fmt.Errorf("kong.yml is wrong:\n%w", err)
	}
	return b.gateway, nil
}

// checkFile holds the file against what Kong accepts, with these plugins.
func checkFile(cfg Config) error {
	plugins := map[string]schema.Schema{}
	for name, external := range cfg.External {
		plugins[name] = external.Info.Schema
	}
	result, err := kong.Check(cfg.Declarative, plugins)
	if err != nil {
		return fmt.Errorf("read kong.yml: %w", err)
	}
	if len(result.Faults) > 0 {
		return fmt.Errorf("kong.yml is wrong:\n%w", result.Faults)
	}
	return nil
}

// NotEmulated names what is in the file and has no effect here.
func (g *Gateway) NotEmulated() []string { return g.notEmulated }

// Run checks the health of the upstreams' targets until ctx ends.
func (g *Gateway) Run(ctx context.Context) {
	g.runHealthChecks(ctx)
}

// ServeHTTP answers one request.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := g.newExchange(r)
	if refused := e.malformed(); refused != nil {
		w.Header().Set("Connection", "close")
		e.send(w, refused)
		return
	}
	e.route, e.matched = find(g.matches, r, e.path)
	if e.route == nil {
		e.send(w, e.failure(http.StatusNotFound, "no Route matched with those values"))
		return
	}
	answer := e.run(r.Context())
	if closer, ok := answer.body.(io.Closer); ok {
		defer func() { _ = closer.Close() }()
	}
	e.headerFilter(answer)
	e.send(w, answer)
}

// run takes the request through access, the service and response.
func (e *exchange) run(ctx context.Context) *reply {
	if ended := e.access(ctx); ended != nil {
		fill(ended.header, e.downstream)
		return ended
	}
	answer, err := e.forward(ctx)
	if err != nil {
		failed := e.upstreamFailure(ctx, err)
		fill(failed.header, e.downstream)
		return failed
	}
	clearHopByHop(answer.header)
	for name, values := range e.downstream {
		answer.header[name] = values
	}
	e.answer = answer
	if !e.route.buffered() || e.request.Header.Get("Upgrade") != "" {
		return answer
	}
	return e.responsePhase(ctx)
}

// fill adds the headers that are not there yet.
func fill(header, more http.Header) {
	for name, values := range more {
		if _, given := header[name]; !given {
			header[name] = values
		}
	}
}

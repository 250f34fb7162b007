// Package gateway stands in for Kong on one machine: it reads the same kong.yml,
// checks the config of the two plugins against their own schemas, and runs
// requests through the real plugin programs over Kong's plugin protocol.
//
// It behaves like Kong 3.9 with kong/kong.conf where Earlybird relies on it:
// routes, the order and phases of plugins, the effects of an exit or a failure in a
// plugin, which headers are dropped when, and the health of an upstream's targets.
// It refuses a kong.yml with unknown fields, and names the plugins that it ignores.
// It is meant for trials and tests. It speaks HTTP/1.1 without TLS, and its requests
// are read by net/http instead of nginx (deploy/README.md lists the differences).
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"time"
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
	notEmulated []string
	now         func() time.Time
	log         *slog.Logger
}

// New checks the declarative file and builds the gateway. The error lists every
// fault in the config of the plugins, and what of the file the stand-in does not
// know.
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
	file, err := parse(cfg.Declarative)
	if err != nil {
		return nil, err
	}
	b := &builder{cfg: cfg, gateway: &Gateway{now: cfg.Now, log: cfg.Log}}
	b.build(file)
	if err := errors.Join(b.faults...); err != nil {
		return nil, fmt.Errorf("kong.yml is wrong:\n%w", err)
	}
	return b.gateway, nil
}

// NotEmulated names what is in the file and has no effect here.
func (g *Gateway) NotEmulated() []string { return g.notEmulated }

// ServeHTTP answers one request.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := g.newExchange(r)
	if refused := e.read(w); refused != nil {
		w.Header().Set("Connection", "close")
		e.send(w, refused)
		return
	}
	if e.route = find(g.matches, r, e.path); e.route == nil {
		e.send(w, e.failure(http.StatusNotFound, "no Route matched with those values"))
		return
	}
	answer := e.run(r.Context())
	defer e.release()
	defer func() { _ = answer.body.Close() }()
	for _, h := range e.route.plugins {
		if h.header != nil {
			h.header(e, answer.header)
		}
	}
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
	maps.Copy(answer.header, e.downstream)
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

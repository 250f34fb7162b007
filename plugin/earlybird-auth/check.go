package main

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"

	"github.com/earlybird/earlybird/identity/campaign/mirror"
	"github.com/earlybird/earlybird/identity/token"
	"github.com/earlybird/earlybird/plugin/edge"
)

// Revocations knows which tokens were revoked; *revocation.Feed implements it.
// Neither method blocks.
type Revocations interface {
	// Ready reports whether everything revoked before the start is known.
	Ready() bool
	// Revoked reports whether a token with this jti, sub and gen is known to be
	// revoked.
	Revoked(jti, sub string, gen int64) bool
}

// checkerConfig is what a checker is made of; every field is required.
type checkerConfig struct {
	Verifier    *token.Verifier
	CacheSize   int // tokens
	Grants      *grants
	Revocations Revocations
	Log         *slog.Logger
	Metrics     *metrics
}

// checker decides whether requests may pass and writes the header for the services
// behind Kong. It does not depend on Kong. The routes of a process share a checker,
// and each passes its own demand. It is safe for concurrent use.
type checker struct {
	checkerConfig
	tokens *token.Cache[*cached]
}

// cached is what is kept with a verified token.
type cached struct {
	user    *mirror.User
	written atomic.Pointer[rendered] // the header as last written
}

// rendered is a header's value and the grant it was written from.
type rendered struct {
	grant edge.KnownGrant
	value string
}

// demand is what one route asks of a request.
type demand struct {
	token.Demand
	failOpen bool // accept tokens before Revocations is ready
}

func newChecker(cfg checkerConfig) (*checker, error) {
	tokens, err := token.NewCache(token.CacheConfig[*cached]{
		Verifier: cfg.Verifier, Size: cfg.CacheSize, Observe: cfg.Metrics.lookup,
		Hold:    func(c token.Claims) *cached { return &cached{user: cfg.Grants.View.Watch(c.Subject)} },
		Release: func(h *cached) { cfg.Grants.View.Release(h.user) },
	})
	if err != nil {
		return nil, err
	}
	return &checker{checkerConfig: cfg, tokens: tokens}, nil
}

var errHeader = errors.New("the token's claims cannot be put into the header")

// decide decides a request by its Authorization header. Either the request passes,
// with header as the value of edge.Header, or it is answered with problem. An error
// means that no decision was possible: the request must not pass.
func (c *checker) decide(ctx context.Context, authorization string, d demand) (header string, problem *edge.Problem, err error) {
	raw, err := token.ParseAuthorization(authorization)
	if err != nil {
		return "", c.refuse(err), nil
	}
	e, err := c.tokens.Lookup(raw, d.Demand)
	if err != nil {
		return "", c.refuse(err), nil
	}
	// Checked on every request: a token stays in the cache for longer than a
	// revocation may take to arrive.
	claims := &e.Claims
	switch {
	case !d.failOpen && !c.Revocations.Ready():
		return "", c.refuse(token.ErrNotReady), nil
	case c.Revocations.Revoked(claims.ID, claims.Subject, claims.Generation):
		return "", c.refuse(token.ErrRevoked), nil
	}
	header, err = e.Value.header(claims, c.Grants.of(ctx, e.Value.user, claims.Subject))
	if err != nil {
		c.Log.ErrorContext(ctx, "header could not be written", slog.Any("err", err))
		return "", nil, errHeader
	}
	return header, nil, nil
}

// unreadable is the answer when the Authorization header could not be read, which
// happens when it is not UTF-8.
func (c *checker) unreadable() *edge.Problem { return c.refuse(token.ErrMalformed) }

func (c *checker) refuse(err error) *edge.Problem {
	p := edge.Refusal(err)
	c.Metrics.refused.WithLabelValues(p.Reason).Inc()
	return p
}

// header returns the upstream header. It is rendered again only when the grant has
// changed.
func (h *cached) header(c *token.Claims, g edge.KnownGrant) (string, error) {
	if r := h.written.Load(); r != nil && r.grant == g {
		return r.value, nil
	}
	value, err := edge.Upstream(c.Subject, c.ID, g)
	if err != nil {
		return "", err
	}
	h.written.Store(&rendered{grant: g, value: value})
	return value, nil
}

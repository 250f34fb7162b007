// Package auth decides whether a request may pass and what the services behind
// Kong are told of its user. It knows nothing of Kong.
package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/revocation"
	"github.com/earlybird/earlybird/identity/token"
	"github.com/earlybird/earlybird/plugin/edge"
)

// Verifier checks a token; *token.Verifier is one.
type Verifier interface {
	// Verify's errors wrap package token's.
	Verify(raw string) (token.Claims, error)
	// GoodUntil is when Verify begins to refuse a token of these claims.
	GoodUntil(c token.Claims) time.Time
}

// Keys is what Verifier verifies with; *token.JWKS is one.
type Keys interface {
	// Losses grows whenever a key is taken away: withdrawn because it leaked, or
	// retired.
	Losses() uint64
}

// Standings tells where users stand in the campaign; *campaign.Feed is one.
type Standings interface {
	// Campaign returns the settings as last read, without an ID when there is
	// no campaign; false when they are not known.
	Campaign() (campaign.Campaign, bool)
	// Live reports whether the last read succeeded.
	Live() bool
	// Standing reads a user's position; it is bounded in time.
	Standing(ctx context.Context, user string) (campaign.Standing, error)
}

// Revocations knows which tokens were ended; *revocation.Feed is one. Neither
// method waits for anything.
type Revocations interface {
	// Ready reports whether everything revoked before the start is known.
	Ready() bool
	// Revoked reports whether a token with this jti, sub and gen was ended, as
	// far as is known.
	Revoked(jti, sub string, gen int64) bool
}

// Config is what a Checker is made of. Every field but Metrics is required.
type Config struct {
	Verifier    Verifier
	Keys        Keys
	Standings   Standings
	Revocations Revocations
	// Trusting lets tokens pass before Revocations is ready.
	Trusting  bool
	CacheSize int // tokens
	Log       *slog.Logger
	Now       func() time.Time
	Metrics   *Metrics
}

// Checker checks the Authorization header of requests. It remembers verified
// tokens until they expire or a key is taken away, and where their users stand; whoever feeds it must
// pass on Arrived and Missed, so that what it remembers stays right. It is safe
// for concurrent use.
type Checker struct {
	cfg    Config
	cache  *cache
	people people
	missed atomic.Uint64 // how often arrivals may have been missed
}

// New returns a Checker that remembers nothing.
func New(cfg Config) *Checker {
	c := &Checker{cfg: cfg, people: people{byUser: map[string]*person{}}}
	c.cache = newCache(cfg.CacheSize, c.people.release)
	if cfg.Metrics == nil {
		c.cfg.Metrics = NewMetrics(nil)
	}
	return c
}

var errHeader = errors.New("the token's claims cannot be put into the header")

// Check decides by the value of the Authorization header. Either the request
// passes with header as the value of edge.Header, or it is answered with the
// problem. An error means that neither can be said: nothing may pass.
func (c *Checker) Check(ctx context.Context, authorization string) (header string, problem *edge.Problem, err error) {
	raw, err := token.ParseAuthorization(authorization)
	if err != nil {
		return "", c.refuse(err), nil
	}
	if len(raw) > token.MaxSize {
		return "", c.refuse(token.ErrMalformed), nil
	}
	var usual [512]byte // most tokens fit, and need no copy on the heap
	sum := sha256.Sum256(append(usual[:0], raw...))
	losses := c.cfg.Keys.Losses() // before Verify looks at the keys
	e, ok := c.cache.get(sum, c.cfg.Now(), losses)
	if ok {
		c.cfg.Metrics.hits.Inc()
	} else {
		c.cfg.Metrics.misses.Inc()
		claims, err := c.cfg.Verifier.Verify(raw)
		if err != nil {
			return "", c.refuse(err), nil
		}
		e = c.remember(sum, claims, losses)
	}
	if p := c.ended(e); p != nil {
		return "", p, nil
	}
	header, err = e.header(c.standing(ctx, e.person))
	if err != nil {
		c.cfg.Log.ErrorContext(ctx, "header could not be written", slog.Any("err", err))
		return "", nil, errHeader
	}
	return header, nil, nil
}

// ended refuses a token that was revoked, or may have been. It is asked for
// every request: a token is remembered for longer than a revocation may take.
func (c *Checker) ended(e *entry) *edge.Problem {
	switch {
	case !c.cfg.Trusting && !c.cfg.Revocations.Ready():
		return c.refuse(revocation.ErrNotReady)
	case c.cfg.Revocations.Revoked(e.tokenID, e.user, e.generation):
		return c.refuse(revocation.ErrRevoked)
	default:
		return nil
	}
}

// Unreadable answers a request whose Authorization header could not be read:
// bytes that are not UTF-8 are no token.
func (c *Checker) Unreadable() *edge.Problem { return c.refuse(token.ErrMalformed) }

func (c *Checker) refuse(err error) *edge.Problem {
	p := edge.Refusal(err)
	c.cfg.Metrics.refused.WithLabelValues(p.Reason).Inc()
	return p
}

func (c *Checker) remember(sum [sha256.Size]byte, claims token.Claims, losses uint64) *entry {
	e := &entry{
		sum: sum, user: claims.Subject, tokenID: claims.ID, generation: claims.Generation,
		until: c.cfg.Verifier.GoodUntil(claims).UnixNano(), person: c.people.hold(claims.Subject),
	}
	e.losses.Store(losses)
	return c.cache.put(e)
}

// Remembered is the number of tokens that are remembered.
func (c *Checker) Remembered() int { return c.cache.len() }

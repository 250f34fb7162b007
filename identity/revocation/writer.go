package revocation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// WriterConfig configures a Writer. Store and Redis are required.
type WriterConfig struct {
	Store Store
	Redis redis.UniversalClient
	Feed  *Feed            // of this process, which then knows at once; nil: there is none
	Now   func() time.Time // nil: time.Now
}

// Writer revokes. It is safe for concurrent use.
type Writer struct {
	cfg    WriterConfig
	stream stream
}

// NewWriter returns a Writer.
func NewWriter(cfg WriterConfig) *Writer {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Writer{cfg: cfg, stream: stream{cfg.Redis}}
}

// RevokeToken ends the token with this jti and exp at every edge within a
// second. Repeating it does no harm.
//
// It fails with an *unavailable.Error when it could not be stored. When it is stored
// and Redis does not take it, it fails with a *PendingError: the promise that
// the token is dead within a second cannot be kept. A Publisher announces it as
// soon as Redis is back, whether the caller tries again or not.
func (w *Writer) RevokeToken(ctx context.Context, jti string, expires time.Time) error {
	r := ofToken(jti, expires, w.cfg.Now())
	if err := w.cfg.Store.AddRevocation(ctx, r); err != nil && !errors.Is(err, ErrExists) {
		return fmt.Errorf("revoke token: %w", err)
	}
	return w.announce(ctx, r)
}

// RaiseGeneration stores that every token of the user with a generation up to
// current is dead, and returns the next generation. The edges do not learn of it
// before AnnounceGeneration, or before a Publisher finds it, which has the same effect:
// so the caller first stores the new generation with the user's credential, on
// condition that the credential is still the one with current.
//
// Of several at once each gets a generation of its own: one may have been
// raised to after this caller read current, and tokens issued with it since.
func (w *Writer) RaiseGeneration(ctx context.Context, userID string, current int64) (int64, error) {
	for next := current + 1; ; next++ {
		err := w.cfg.Store.AddRevocation(ctx, ofGeneration(userID, next, w.cfg.Now()))
		if err == nil {
			return next, nil
		}
		if !errors.Is(err, ErrExists) {
			return 0, fmt.Errorf("raise generation: %w", err)
		}
	}
}

// AnnounceGeneration tells the edges of a generation that RaiseGeneration
// returned. It fails with a *PendingError when Redis does not take it.
func (w *Writer) AnnounceGeneration(ctx context.Context, userID string, generation int64) error {
	return w.announce(ctx, ofGeneration(userID, generation, w.cfg.Now()))
}

func (w *Writer) announce(ctx context.Context, r Revocation) error {
	f := w.cfg.Feed
	var load uint64
	if f != nil {
		f.known.add(r, 0, 0)
		load = f.position().load
	}
	origin, err := w.cfg.Store.Origin(ctx)
	if err == nil {
		_, err = w.stream.announce(ctx, origin, r)
	}
	if err != nil {
		return &PendingError{err}
	}
	if f != nil {
		f.known.add(r, 0, load)
	}
	return nil
}

// Pending reports whether a token is known here to be revoked while the edges may
// not know it yet: then it makes sense to revoke it again.
func (w *Writer) Pending(jti string) bool {
	f := w.cfg.Feed
	return f != nil && f.known.revoked(jti, "", 0) && !f.known.announced(Revocation{TokenID: jti}, f.position().load)
}

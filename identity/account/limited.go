package account

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Limiter refuses whoever tries too often: a *limit.Limiter.
type Limiter interface {
	// Take counts an attempt at an account, or at none when it is empty, from an
	// address, or fails with a *limit.LimitedError.
	Take(ctx context.Context, account, address string) (Pass, error)
}

// Pass is an attempt that a Limiter let through. One that failed is left as it
// is.
type Pass interface {
	// Succeeded reports the attempt as the owner's.
	Succeeded(ctx context.Context)
	// Undecided reports that it neither succeeded nor failed.
	Undecided(ctx context.Context)
}

// unlimited lets everything through.
type unlimited struct{}

func (unlimited) Take(context.Context, string, string) (Pass, error) { return unlimited{}, nil }

func (unlimited) Succeeded(context.Context) {}

func (unlimited) Undecided(context.Context) {}

// limitedName is what attempts at a name are limited by. A name that nobody can
// have is limited like one that somebody may have.
func limitedName(canonical, typed string) string {
	if canonical != "" {
		return canonical
	}
	return "\x00" + typed
}

// refusedPerSecond bounds how many refused attempts a process audits: an
// attempt that costs the client nothing must not cost the store a write each.
// Attempts that were decided are all audited, and are bounded by the hashing.
const refusedPerSecond = 100

// refusals counts the refused attempts of a second.
type refusals struct {
	mu             sync.Mutex
	second         int64
	count, dropped int
}

// admit reports whether one more may be audited, and how many were not in
// earlier seconds.
func (r *refusals) admit(now time.Time) (ok bool, dropped int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if second := now.Unix(); second != r.second {
		r.second, r.count = second, 0
		dropped, r.dropped = r.dropped, 0
	}
	r.count++
	if r.count > refusedPerSecond {
		r.dropped++
		return false, dropped
	}
	return true, dropped
}

// recordRefused audits an attempt that was refused before its password was
// looked at. It looks for the account whether there is one or not.
func (s *Service) recordRefused(ctx context.Context, r LoginRequest, canonical string, outcome Outcome) {
	ok, dropped := s.refused.admit(s.now())
	if dropped > 0 {
		s.log.WarnContext(ctx, "refused login attempts were not recorded one by one", "count", dropped)
	}
	if !ok {
		return
	}
	lookup, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTimeout)
	defer cancel()
	c, err := s.store.Credential(lookup, canonical)
	if err != nil && !errors.Is(err, ErrNotFound) {
		s.log.ErrorContext(ctx, "refused login attempt not recorded", "outcome", string(outcome), "err", err)
		return
	}
	s.record(ctx, r, c.UserID, outcome)
}

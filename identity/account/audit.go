package account

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/earlybird/earlybird/identity/password"
	"github.com/earlybird/earlybird/identity/unavailable"
)

// auditTimeout bounds how long the audit of an attempt may delay its answer.
const auditTimeout = 2 * time.Second

// auditing returns the context in which an attempt is audited, also for a client
// that has gone meanwhile.
func auditing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), auditTimeout)
}

// record writes the audit. It never fails a login.
func (s *Service) record(ctx context.Context, r LoginRequest, userID string, outcome Outcome) {
	ctx, cancel := auditing(ctx)
	defer cancel()
	s.write(ctx, r, userID, outcome)
}

func (s *Service) write(ctx context.Context, r LoginRequest, userID string, outcome Outcome) {
	a := Attempt{UserID: userID, At: s.now().UTC(), Outcome: outcome, IP: r.IP, RequestID: r.RequestID}
	if err := s.store.RecordAttempt(ctx, a); err != nil {
		s.lost(ctx, a, err)
	}
}

// lost has an attempt that the audit could not take counted and logged, with
// what the audit would have held; the log adds the request id.
func (s *Service) lost(ctx context.Context, a Attempt, err error) {
	s.unrecorded(a.Outcome)
	s.log.ErrorContext(ctx, "login attempt not recorded",
		"user_id", a.UserID, "outcome", string(a.Outcome), "address", a.IP, "err", err)
}

// refusedPerSecond bounds how many attempts that were not decided a process
// audits: what costs the client nothing must not cost the store a write each,
// least of all while there is too much to do. Attempts that were decided are all
// audited, and are bounded by the hashing.
const refusedPerSecond = 100

// refusals counts the attempts of a second that were not decided.
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

// admitRefused reports whether an attempt that was not decided may be audited
// one by one; else it is counted.
func (s *Service) admitRefused(ctx context.Context, outcome Outcome) bool {
	ok, dropped := s.refused.admit(s.now())
	if dropped > 0 {
		s.log.WarnContext(ctx, "refused login attempts were not recorded one by one", "count", dropped)
	}
	if !ok {
		s.unrecorded(outcome)
	}
	return ok
}

// recordLimited audits a login that was refused before anything was looked at.
// It looks for the account whether there is one or not.
func (s *Service) recordLimited(ctx context.Context, r LoginRequest, canonical string) {
	if !s.admitRefused(ctx, OutcomeLimited) {
		return
	}
	ctx, cancel := auditing(ctx)
	defer cancel()
	c, err := s.store.Credential(ctx, canonical)
	if err != nil && !errors.Is(err, ErrNotFound) {
		s.lost(ctx, Attempt{Outcome: OutcomeLimited, IP: r.IP}, err)
		return
	}
	s.write(ctx, r, c.UserID, OutcomeLimited)
}

// recordUndecided audits an attempt that err has kept from being decided, and
// does nothing when err is a decision. It looks nothing up, and does not ask a
// store that has just not answered.
func (s *Service) recordUndecided(ctx context.Context, r LoginRequest, userID string, err error) {
	outcome := undecided(err)
	if outcome == "" || !s.admitRefused(ctx, outcome) {
		return
	}
	if unavailable.Is(err) {
		s.lost(ctx, Attempt{UserID: userID, Outcome: outcome, IP: r.IP}, err)
		return
	}
	s.record(ctx, r, userID, outcome)
}

// undecided is the outcome of an attempt that failed for no fault of its own,
// or empty.
func undecided(err error) Outcome {
	switch {
	case errors.Is(err, password.ErrBusy):
		return OutcomeBusy
	case unavailable.Is(err), errors.Is(err, context.DeadlineExceeded):
		return OutcomeUnavailable
	case errors.Is(err, context.Canceled):
		return OutcomeCanceled
	default:
		return ""
	}
}

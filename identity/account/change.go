package account

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/earlybird/earlybird/identity/unavailable"
)

// Revoker ends every token of a user: a *revocation.Writer.
type Revoker interface {
	// RaiseGeneration stores that tokens of the user up to a generation are
	// dead, and returns the next one. It fails with an *unavailable.Error.
	RaiseGeneration(ctx context.Context, userID string, current int64) (int64, error)
	// AnnounceGeneration tells the edges. It fails with an *unavailable.Error when
	// they will hear of it later.
	AnnounceGeneration(ctx context.Context, userID string, generation int64) error
}

// Generations knows the generations raised of late: a *revocation.Feed.
type Generations interface {
	// Generation is the smallest generation of a user that is not dead, or 0.
	Generation(userID string) int64
}

const (
	// changeAttempts is how often a change is retried after a concurrent change of
	// the same account.
	changeAttempts = 5
	// changeTimeout bounds what is finished for a client that has gone.
	changeTimeout = 5 * time.Second
)

// endTokens changes the credential of a canonical username and ends every token
// of the user. edit returns what is to be stored, or why not; it may be called
// several times.
//
// First it stores the raised generation, then the credential, on condition that it
// is unchanged; then it announces the generation to the edges. If the process dies
// after the first step, the user logs in with the next generation (see catchUp), and
// nothing else has changed. The condition also fails when a login has caught up meanwhile, so
// that no token issued before the change survives it.
func endTokens(ctx context.Context, store Store, revoker Revoker, canonical string, edit func(Credential) (Credential, error)) error {
	for range changeAttempts {
		old, err := store.Credential(ctx, canonical)
		if err != nil {
			return fmt.Errorf("read credential: %w", err)
		}
		next, err := edit(old)
		if err != nil {
			return err
		}
		if err := finish(ctx, store, revoker, old, next); !errors.Is(err, ErrChanged) {
			return err
		}
	}
	return unavailable.New("account store", "change credential", ErrChanged)
}

// finish does what must not stop half-way because the client has gone.
func finish(ctx context.Context, store Store, revoker Revoker, old, next Credential) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTimeout)
	defer cancel()
	var err error
	if next.Generation, err = revoker.RaiseGeneration(ctx, old.UserID, old.Generation); err != nil {
		return err
	}
	if err := store.ReplaceCredential(ctx, old, next); err != nil {
		return fmt.Errorf("replace credential: %w", err)
	}
	if err := revoker.AnnounceGeneration(ctx, next.UserID, next.Generation); err != nil {
		return fmt.Errorf("%w: %w", ErrNotAnnounced, err)
	}
	return nil
}

// ErrNotAnnounced reports a change that is done and stored, while the edges
// will hear later that earlier tokens are dead: the Revoker's error is wrapped
// with it.
var ErrNotAnnounced = errors.New("done and stored, not announced yet")

// ChangeRequest asks for another password. IP and RequestID go to the audit.
type ChangeRequest struct {
	UserID    string
	Current   string
	New       string
	IP        string
	RequestID string
}

// ChangePassword stores a new password and ends every token that the user has.
// It fails with an *InvalidError of the field "current" or "new", with
// ErrNotFound, with a *limit.LimitedError, with the hasher's error when it is
// busy, or with an *unavailable.Error, and then ErrNotAnnounced when it is done all
// the same.
func (s *Service) ChangePassword(ctx context.Context, r ChangeRequest) error {
	if s.revoker == nil {
		return errors.New("account service has no revoker")
	}
	next, err := s.newPassword(r)
	if err != nil {
		return err
	}
	audit := LoginRequest{IP: r.IP, RequestID: r.RequestID}
	u, err := s.store.User(ctx, r.UserID)
	if err != nil {
		return fmt.Errorf("user %q: %w", r.UserID, err)
	}
	pass, err := s.limiter.Take(ctx, u.Canonical, r.IP)
	if err != nil {
		if s.admitRefused(ctx, OutcomeLimited) {
			s.record(ctx, audit, r.UserID, OutcomeLimited)
		}
		return fmt.Errorf("change password: %w", err)
	}
	outcome, err := s.replacePassword(ctx, r, u, next)
	var invalid *InvalidError
	switch {
	case err == nil || errors.Is(err, ErrNotAnnounced):
		pass.Succeeded(ctx)
		s.record(ctx, audit, r.UserID, OutcomePasswordChanged)
	case errors.As(err, &invalid) && invalid.Field == "current":
		s.record(ctx, audit, r.UserID, outcome)
	default:
		pass.Undecided(ctx)
		s.recordUndecided(ctx, audit, r.UserID, err)
	}
	return err
}

// replacePassword holds a place in the queue for hashing. outcome says what is
// wrong with the current password, when that is what is wrong.
func (s *Service) replacePassword(ctx context.Context, r ChangeRequest, u User, next string) (outcome Outcome, err error) {
	ctx, release, err := s.hasher.Enter(ctx)
	if err != nil {
		return "", fmt.Errorf("change password: %w", err)
	}
	defer release()
	checked, hash := "", "" // of what was stored, which a second attempt may find unchanged
	err = endTokens(ctx, s.store, s.revoker, u.Canonical, func(c Credential) (Credential, error) {
		if c.UserID != r.UserID || c.Disabled {
			return Credential{}, ErrNotFound
		}
		if c.Password != checked {
			var err error
			if outcome, err = s.verifyCurrent(ctx, c, r.Current); err != nil {
				return Credential{}, err
			}
			checked = c.Password
		}
		if hash == "" {
			var err error
			if hash, err = s.hashNew(ctx, next, "new", u.Username, u.Canonical); err != nil {
				return Credential{}, err
			}
		}
		c.Password, c.OneTimeUntil = hash, 0
		return c, nil
	})
	return outcome, err
}

// newPassword returns the form of the new password that is hashed.
func (s *Service) newPassword(r ChangeRequest) (string, error) {
	next, err := normalise(r.New, s.minPassword)
	var invalid *InvalidError
	if errors.As(err, &invalid) {
		return "", &InvalidError{Field: "new", Reason: invalid.Reason}
	}
	if err != nil {
		return "", err
	}
	if current, err := normalise(r.Current, 1); err == nil && current == next {
		return "", &InvalidError{Field: "new", Reason: "is the current password; choose another one"}
	}
	return next, nil
}

func (s *Service) verifyCurrent(ctx context.Context, c Credential, current string) (Outcome, error) {
	normal, err := normalise(current, 1)
	possible := err == nil // else normal is empty: the same work, on nothing
	right, err := s.verify(ctx, true, c, normal)
	if err != nil {
		return "", fmt.Errorf("verify password: %w", err)
	}
	outcome := judge(true, right && possible, c, s.now())
	if !outcome.opens() {
		return outcome, &InvalidError{Field: "current", Reason: "is not your password"}
	}
	return outcome, nil
}

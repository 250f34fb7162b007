package account

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/earlybird/earlybird/identity/password"
	"github.com/earlybird/earlybird/identity/unavailable"
)

// LoginRequest is one attempt to log in. IP and RequestID go to the audit.
type LoginRequest struct {
	Username  string
	Password  string
	IP        string
	RequestID string
}

// Authenticate returns the credential that a username and password open, or
// ErrBadCredentials, whatever is wrong with them. It may also fail with a
// *limit.LimitedError, with the hasher's error when it is busy, or with an
// *unavailable.Error. Of a credential that is OneTime the caller makes a token that
// opens nothing but the change of password.
//
// Every path does one lookup, one hash and one entry in the audit, so that the
// time of the answer does not tell whether a name exists (OWASP ASVS 5.0
// 6.3.8). A name or password that no account can have takes the same path, and
// is limited alike.
func (s *Service) Authenticate(ctx context.Context, r LoginRequest) (Credential, error) {
	canonical, err := Canonical(r.Username)
	if err != nil {
		canonical = "" // which nobody is called
	}
	pass, err := s.limiter.Take(ctx, limitedName(canonical, r.Username), r.IP)
	if err != nil {
		s.recordLimited(ctx, r, canonical)
		return Credential{}, fmt.Errorf("log in: %w", err)
	}
	c, outcome, err := s.decide(ctx, r, canonical)
	switch {
	case err != nil || outcome == OutcomeOneTime:
		pass.Undecided(ctx)
	case outcome == OutcomeSuccess:
		pass.Succeeded(ctx)
	}
	if err != nil {
		s.recordUndecided(ctx, r, c.UserID, err)
		return Credential{}, err
	}
	s.record(ctx, r, c.UserID, outcome)
	if !outcome.opens() {
		return Credential{}, ErrBadCredentials
	}
	return c, nil
}

// decide holds a place in the queue for hashing while it looks the credential up
// and checks the password, and begins again when the credential was changed
// meanwhile. With an error it returns the credential as far as it has read one.
func (s *Service) decide(ctx context.Context, r LoginRequest, canonical string) (Credential, Outcome, error) {
	ctx, release, err := s.hasher.Enter(ctx)
	if err != nil {
		return Credential{}, "", fmt.Errorf("log in: %w", err)
	}
	defer release()
	for range changeAttempts {
		c, outcome, err := s.check(ctx, r, canonical)
		if !errors.Is(err, ErrChanged) {
			return c, outcome, err
		}
	}
	return Credential{}, "", unavailable.New("account store", "log in", ErrChanged)
}

func (s *Service) check(ctx context.Context, r LoginRequest, canonical string) (Credential, Outcome, error) {
	c, err := s.store.Credential(ctx, canonical)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Credential{}, "", fmt.Errorf("read credential: %w", err)
	}
	known := err == nil
	normal, err := normalise(r.Password, 1)
	possible := err == nil // else normal is empty: the same work, on nothing
	right, err := s.verify(ctx, known, c, normal)
	if err != nil {
		return c, "", fmt.Errorf("verify password: %w", err)
	}
	outcome := judge(known, right && possible, c, s.now())
	if outcome.opens() {
		if c, err = s.catchUp(ctx, c); err != nil {
			return c, "", err
		}
		s.refresh(ctx, c, normal)
	}
	return c, outcome, nil
}

// catchUp makes a credential follow a generation that was raised while the
// credential was not changed with it, because a process died between the two.
// Tokens of the old generation would be dead at once. The credential is stored
// before a token is issued, so that no token is ever ahead of it: raising
// the credential's generation ends every token there is.
func (s *Service) catchUp(ctx context.Context, c Credential) (Credential, error) {
	if s.generations == nil {
		return c, nil
	}
	raised := c
	raised.Generation = s.generations.Generation(c.UserID)
	if raised.Generation <= c.Generation {
		return c, nil
	}
	err := s.store.ReplaceCredential(ctx, c, raised)
	if errors.Is(err, ErrNotFound) { // the account was deleted meanwhile, as the next look will find
		err = ErrChanged
	}
	if err != nil {
		return c, fmt.Errorf("raise generation of credential: %w", err)
	}
	return raised, nil
}

func judge(known, right bool, c Credential, now time.Time) Outcome {
	switch {
	case !known:
		return OutcomeUnknownUser
	case !right:
		return OutcomeWrongPassword
	case c.Disabled:
		return OutcomeDisabled
	case c.OneTime() && now.UnixMilli() >= c.OneTimeUntil:
		return OutcomeOneTimeExpired
	case c.OneTime():
		return OutcomeOneTime
	default:
		return OutcomeSuccess
	}
}

func (o Outcome) opens() bool { return o == OutcomeSuccess || o == OutcomeOneTime }

// verify always computes one hash, for unknown names too. A stored password that
// cannot be parsed never matches, and costs the same.
func (s *Service) verify(ctx context.Context, known bool, c Credential, normal string) (bool, error) {
	if !known {
		return false, s.hasher.VerifyNobody(ctx, normal)
	}
	right, err := s.hasher.Verify(ctx, c.Password, normal)
	if errors.Is(err, password.ErrMalformed) {
		s.log.ErrorContext(ctx, "stored password cannot be read", "user_id", c.UserID, "err", err)
		return false, s.hasher.VerifyNobody(ctx, normal)
	}
	return right, err
}

// refreshTimeout bounds how long a login waits for its password to be rehashed. It
// has waited for one hash already, and the next login can do it.
const refreshTimeout = time.Second

// refresh rehashes the password if the parameters have changed, since a login is
// when the password is available. The login has succeeded: no failure here may
// undo it.
func (s *Service) refresh(ctx context.Context, c Credential, normal string) {
	if !s.hasher.Stale(c.Password) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	hash, err := s.hasher.Hash(ctx, normal)
	if err == nil {
		err = s.store.ReplacePassword(ctx, c.Canonical, c.Password, hash)
	}
	if err != nil {
		s.log.WarnContext(ctx, "password not rehashed", "user_id", c.UserID, "err", err)
	}
}

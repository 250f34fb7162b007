package account

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"
)

// AdminStore is what an Admin needs of a store beyond a Store.
type AdminStore interface {
	Store

	// LatestAttempts returns the last n attempts at an account, the latest
	// first. It may fail with an *unavailable.Error.
	LatestAttempts(ctx context.Context, userID string, n int) ([]Attempt, error)
}

// AdminConfig configures an Admin. Store and Revoker are required, Hasher for
// ResetPassword.
type AdminConfig struct {
	Store   AdminStore
	Revoker Revoker
	Hasher  interface {
		Hash(ctx context.Context, password string) (string, error)
	}
	Now func() time.Time // nil: time.Now
}

// Admin changes other people's accounts. Its caller records who did what.
type Admin struct{ cfg AdminConfig }

// NewAdmin checks the configuration.
func NewAdmin(c AdminConfig) (*Admin, error) {
	if c.Store == nil || c.Revoker == nil {
		return nil, errors.New("account admin needs a store and a revoker")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Admin{c}, nil
}

// Account is an account as an operator sees it.
type Account struct {
	User
	Generation int64
	Disabled   bool
	// OneTimeUntil is until when a one-time password is good; zero: the password
	// is the user's own.
	OneTimeUntil time.Time
}

// Show returns the account of a username as it is typed anywhere: case and
// width do not matter. It fails with ErrNotFound or an *unavailable.Error.
func (a *Admin) Show(ctx context.Context, username string) (Account, error) {
	canonical, err := Canonical(username)
	if err != nil {
		return Account{}, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	c, err := a.cfg.Store.Credential(ctx, canonical)
	if err != nil {
		return Account{}, fmt.Errorf("read credential: %w", err)
	}
	u, err := a.cfg.Store.User(ctx, c.UserID)
	if err != nil {
		return Account{}, fmt.Errorf("read user: %w", err)
	}
	shown := Account{User: u, Generation: c.Generation, Disabled: c.Disabled}
	if c.OneTime() {
		shown.OneTimeUntil = time.UnixMilli(c.OneTimeUntil).UTC()
	}
	return shown, nil
}

// Attempts returns the last n attempts at an account, the latest first.
func (a *Admin) Attempts(ctx context.Context, userID string, n int) ([]Attempt, error) {
	all, err := a.cfg.Store.LatestAttempts(ctx, userID, n)
	if err != nil {
		return nil, fmt.Errorf("read login attempts: %w", err)
	}
	return all, nil
}

// OneTimeLifetime is how long a one-time password is good.
const OneTimeLifetime = 24 * time.Hour

// ResetPassword replaces a user's password with a new one-time password, which
// it returns, and ends every token of the user.
//
// A login with it answers with a token that opens PUT /users/{id}/password and
// nothing else, at the edge and behind it (token.PasswordAudience), and counts
// for no promotion. There the one-time password is the current one, and once
// another is chosen it is gone. So it works once, within OneTimeLifetime, and
// is of no use to anyone who sees it later.
func (a *Admin) ResetPassword(ctx context.Context, username string) (Account, string, error) {
	if a.cfg.Hasher == nil {
		return Account{}, "", errors.New("account admin has no hasher")
	}
	oneTime := rand.Text()
	hash, err := a.cfg.Hasher.Hash(ctx, oneTime)
	if err != nil {
		return Account{}, "", fmt.Errorf("hash one-time password: %w", err)
	}
	until := a.cfg.Now().Add(OneTimeLifetime).UnixMilli()
	found, err := a.end(ctx, "reset-password", username, func(c Credential) (Credential, error) {
		c.Password, c.OneTimeUntil = hash, until
		return c, nil
	})
	if err != nil && !errors.Is(err, ErrNotAnnounced) {
		return Account{}, "", err
	}
	return found, oneTime, err
}

// Disable keeps a user from logging in and ends their tokens. It is done again
// for a user who is disabled already. With ErrNotAnnounced, also from Revoke,
// it is done and the account is returned.
func (a *Admin) Disable(ctx context.Context, username string) (Account, error) {
	return a.end(ctx, "disable", username, func(c Credential) (Credential, error) {
		c.Disabled = true
		return c, nil
	})
}

// Revoke ends every token of a user, who may log in again.
func (a *Admin) Revoke(ctx context.Context, username string) (Account, error) {
	return a.end(ctx, "revoke", username, func(c Credential) (Credential, error) { return c, nil })
}

func (a *Admin) end(ctx context.Context, name, username string, edit func(Credential) (Credential, error)) (Account, error) {
	return a.do(ctx, name, username, func(canonical string) error {
		return endTokens(ctx, a.cfg.Store, a.cfg.Revoker, canonical, edit)
	})
}

// Enable lets a user log in again. No token comes back to life.
func (a *Admin) Enable(ctx context.Context, username string) (Account, error) {
	return a.do(ctx, "enable", username, func(canonical string) error {
		err := ErrChanged
		for range changeAttempts {
			old, readErr := a.cfg.Store.Credential(ctx, canonical)
			if readErr != nil {
				return fmt.Errorf("read credential: %w", readErr)
			}
			next := old
			next.Disabled = false
			if err = a.cfg.Store.ReplaceCredential(ctx, old, next); !errors.Is(err, ErrChanged) {
				return err
			}
		}
		return err
	})
}

// do does something to an account and returns the account then.
func (a *Admin) do(ctx context.Context, name, username string, change func(canonical string) error) (Account, error) {
	before, err := a.Show(ctx, username)
	if err != nil {
		return Account{}, err
	}
	err = change(before.Canonical)
	if err != nil && !errors.Is(err, ErrNotAnnounced) {
		return Account{}, fmt.Errorf("%s %s: %w", name, before.Canonical, err)
	}
	after, showErr := a.Show(ctx, username)
	return after, errors.Join(err, showErr)
}

package account

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// auditTimeout bounds how long the audit of an attempt may hold up its answer.
const auditTimeout = 2 * time.Second

// Hasher hashes passwords: a *password.Hasher, which bounds how many at once.
// Each method but Stale fails with a *password.BusyError when there are too many.
type Hasher interface {
	// Hash returns a string to store.
	Hash(ctx context.Context, password string) (string, error)
	// Verify reports whether encoded, as Hash returned it, is of password. It
	// fails with password.ErrMalformed when encoded cannot be read.
	Verify(ctx context.Context, encoded, password string) (bool, error)
	// VerifyNobody costs what Verify costs.
	VerifyNobody(ctx context.Context, password string) error
	// Stale reports whether Hash would return a stronger string today.
	Stale(encoded string) bool
}

// ServiceConfig configures a Service. Store and Hasher are required, Revoker for
// ChangePassword.
type ServiceConfig struct {
	Store             Store
	Hasher            Hasher
	Revoker           Revoker
	Generations       Generations      // nil: credentials are never behind
	MinPasswordLength int              // code points; zero: MinPassword
	Now               func() time.Time // nil: time.Now
	Log               *slog.Logger     // nil: slog.Default
}

// Service registers people and lets them in. It is safe for concurrent use.
type Service struct {
	store       Store
	hasher      Hasher
	revoker     Revoker
	generations Generations
	minPassword int
	now         func() time.Time
	log         *slog.Logger
}

// NewService checks the configuration.
func NewService(c ServiceConfig) (*Service, error) {
	if c.Store == nil || c.Hasher == nil {
		return nil, errors.New("account service needs a store and a hasher")
	}
	if c.MinPasswordLength == 0 {
		c.MinPasswordLength = MinPassword
	}
	if c.MinPasswordLength < MinPassword || c.MinPasswordLength > MaxPassword {
		return nil, fmt.Errorf("minimum password length %d: must be %d to %d", c.MinPasswordLength, MinPassword, MaxPassword)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return &Service{
		store: c.Store, hasher: c.Hasher, revoker: c.Revoker, generations: c.Generations,
		minPassword: c.MinPasswordLength, now: c.Now, log: c.Log,
	}, nil
}

// Register creates an account. It fails with an *InvalidError (two, joined,
// when name and password are both invalid), with ErrUsernameTaken, with the
// hasher's error when it is busy, or with an *outage.Error.
func (s *Service) Register(ctx context.Context, username, password string) (User, error) {
	canonical, nameErr := Canonical(username)
	normal, passwordErr := normalise(password, s.minPassword)
	if err := errors.Join(nameErr, passwordErr); err != nil {
		return User{}, err
	}
	if err := s.free(ctx, canonical); err != nil {
		return User{}, err
	}
	hash, err := s.hasher.Hash(ctx, normal)
	if err != nil {
		return User{}, fmt.Errorf("hash password: %w", err)
	}
	u := User{ID: rand.Text(), Username: username, Canonical: canonical, CreatedAt: s.now().UTC().Truncate(time.Millisecond)}
	c := Credential{Canonical: canonical, UserID: u.ID, Password: hash}
	if err := s.store.CreateUser(ctx, u, c); err != nil {
		return User{}, fmt.Errorf("create user %s: %w", u.ID, err)
	}
	return u, nil
}

// free looks before the costly hash whether a name is held. It decides
// nothing: that is for CreateUser.
func (s *Service) free(ctx context.Context, canonical string) error {
	switch _, err := s.store.Credential(ctx, canonical); {
	case err == nil:
		return ErrUsernameTaken
	case errors.Is(err, ErrNotFound):
		return nil
	default:
		return fmt.Errorf("look for the username: %w", err)
	}
}

// User returns the account with this id, or ErrNotFound.
func (s *Service) User(ctx context.Context, id string) (User, error) {
	u, err := s.store.User(ctx, id)
	if err != nil {
		return User{}, fmt.Errorf("user %q: %w", id, err)
	}
	return u, nil
}

package account

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/earlybird/earlybird/identity/password"
)

// Hasher hashes passwords: a *password.Hasher, which bounds how many at once.
// Each method but Stale fails with a *password.BusyError when there are too many.
type Hasher interface {
	// Enter takes a place in the queue for hashing, or fails at once when the
	// request would wait too long. queued is the context for the hashes that
	// follow, which share one deadline; release is called after the last of them,
	// and does nothing when called again.
	Enter(ctx context.Context) (queued context.Context, release func(), err error)
	// Hash returns a string to store.
	Hash(ctx context.Context, password string) (string, error)
	// HashIf is Hash when admit returns nil, and else returns its error. What
	// admit does is bounded like hashing.
	HashIf(ctx context.Context, password string, admit func() error) (string, error)
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
	Enrolment         Enrolment        // nil: anybody may register
	Limiter           Limiter          // nil: no limits
	MinPasswordLength int              // code points; zero: MinPassword
	MinPasswordScore  int              // least password.Strength of a new password, to password.MaxScore; zero: any
	Unrecorded        func(Outcome)    // called for each attempt that is not in the audit; nil: not called
	Now               func() time.Time // nil: time.Now
	Log               *slog.Logger     // nil: slog.Default
}

// Service registers people and lets them in. It is safe for concurrent use.
type Service struct {
	store       Store
	hasher      Hasher
	revoker     Revoker
	generations Generations
	enrolment   Enrolment
	limiter     Limiter
	minPassword int
	minScore    int
	unrecorded  func(Outcome)
	now         func() time.Time
	log         *slog.Logger
	refused     refusals
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
	if c.MinPasswordScore < 0 || c.MinPasswordScore > password.MaxScore {
		return nil, fmt.Errorf("minimum password score %d: must be 0 to %d", c.MinPasswordScore, password.MaxScore)
	}
	if c.Enrolment == nil {
		c.Enrolment = open{c.Store}
	}
	if c.Limiter == nil {
		c.Limiter = unlimited{}
	}
	if c.Unrecorded == nil {
		c.Unrecorded = func(Outcome) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return &Service{
		store: c.Store, hasher: c.Hasher, revoker: c.Revoker, generations: c.Generations, enrolment: c.Enrolment,
		limiter: c.Limiter, minPassword: c.MinPasswordLength, minScore: c.MinPasswordScore,
		unrecorded: c.Unrecorded, now: c.Now, log: c.Log,
	}, nil
}

// Registration asks for an account. IP is the address that is limited.
type Registration struct {
	Username string
	Password string
	Code     string // where an Enrolment asks for one
	IP       string
}

// Register creates an account. It fails with an *InvalidError (several, joined,
// when more than one of name, password and code are invalid), with ErrUsernameTaken, with a
// *limit.LimitedError, with the hasher's error when it is busy, or with an
// *unavailable.Error.
//
// A code that does not work is refused before the name is looked for and the
// password is hashed: who has no code learns no names and costs little.
func (s *Service) Register(ctx context.Context, r Registration) (User, error) {
	canonical, nameErr := Canonical(r.Username)
	normal, passwordErr := normalise(r.Password, s.minPassword)
	if err := errors.Join(nameErr, passwordErr, s.enrolment.Check(r.Code)); err != nil {
		return User{}, err
	}
	if _, err := s.limiter.Take(ctx, "", r.IP); err != nil {
		return User{}, fmt.Errorf("register: %w", err)
	}
	ctx, release, err := s.hasher.Enter(ctx)
	if err != nil {
		return User{}, fmt.Errorf("register: %w", err)
	}
	defer release()
	admitted, err := s.enrolment.Admit(ctx, r.Code)
	if err != nil {
		return User{}, fmt.Errorf("register: %w", err)
	}
	if admitted.Held != nil {
		return s.resume(ctx, canonical, normal, r.IP, admitted)
	}
	if err := s.free(ctx, canonical); err != nil {
		return User{}, err
	}
	hash, err := s.hashNew(ctx, normal, "password", r.Username, canonical)
	release()
	if err != nil {
		return User{}, err
	}
	u := User{
		ID: rand.Text(), Username: r.Username, Canonical: canonical, Customer: admitted.Customer,
		CreatedAt: s.now().UTC().Truncate(time.Millisecond),
	}
	c := Credential{Canonical: canonical, UserID: u.ID, Password: hash}
	if err := s.enrolment.Create(ctx, u, c); err != nil {
		return User{}, fmt.Errorf("create user %s: %w", u.ID, err)
	}
	// Somebody may have been guessing at this name since before it was anybody's.
	s.limiter.Remember(ctx, canonical, r.IP)
	return u, nil
}

// hashNew hashes a new password, if it is strong enough for somebody with these
// names. field is what an *InvalidError calls it.
func (s *Service) hashNew(ctx context.Context, normal, field string, names ...string) (string, error) {
	hash, err := s.hasher.HashIf(ctx, normal, func() error {
		if s.minScore == 0 {
			return nil
		}
		if score, advice := password.Strength(normal, names...); score < s.minScore {
			return &InvalidError{Field: field, Reason: advice}
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	return hash, nil
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

package account

import (
	"context"
	"fmt"
)

// ErrCode is the one refusal of a code that does not work, whether it is unknown,
// used, expired or revoked.
var ErrCode error = &InvalidError{Field: "code", Reason: "does not work: it is unknown, used, expired or revoked; ask for a new one"}

// Enrolment decides who may register; *enrolment.Registry implements it.
type Enrolment interface {
	// Check refuses a mistyped code with an *InvalidError, without looking anything
	// up.
	Check(code string) error
	// Admit returns what a code is good for. ErrCode refuses one that does not work,
	// in a time that does not depend on the reason.
	Admit(ctx context.Context, code string) (Admission, error)
	// Create stores the account of the customer u.Customer as Store.CreateUser does,
	// or fails with ErrUsernameTaken, and with ErrCode when the customer got another
	// account meanwhile. The code is used when it succeeds. When it fails with another
	// error, the account may come to be: Admit says so when it is asked again.
	Create(ctx context.Context, u User, c Credential) error
}

// Admission is what an enrolment code is good for.
type Admission struct {
	Customer string // who registers
	// Held is the account that an earlier registration with this code asked for, when
	// nobody was told that it was created; Password is its hash.
	Held     *User
	Password string
}

// open is the Enrolment where anybody may register.
type open struct{ Store }

func (open) Check(string) error { return nil }

func (open) Admit(context.Context, string) (Admission, error) { return Admission{}, nil }

func (o open) Create(ctx context.Context, u User, c Credential) error { return o.CreateUser(ctx, u, c) }

// resume answers a registration that is tried again after it was cut off: with the
// account that exists by now, if this is the same registration.
func (s *Service) resume(ctx context.Context, canonical, normal, address string, a Admission) (User, error) {
	if a.Held.Canonical != canonical {
		return User{}, ErrCode
	}
	same, err := s.hasher.Verify(ctx, a.Password, normal)
	if err != nil {
		return User{}, fmt.Errorf("verify password: %w", err)
	}
	if !same {
		return User{}, ErrCode
	}
	s.limiter.Remember(ctx, canonical, address)
	return *a.Held, nil
}

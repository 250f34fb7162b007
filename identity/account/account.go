// Package account is the domain of user accounts: which usernames are valid, who
// may log in, and what the audit records of each attempt.
//
// It depends on no database and not on HTTP: stores implement [Store] and pass
// account/storetest, and package httpapi maps its errors to responses.
package account

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// User is the public half of an account.
type User struct {
	ID        string    // opaque, assigned at registration, never reused
	Username  string    // as typed at registration
	Canonical string    // the PRECIS form that is unique
	CreatedAt time.Time // UTC, millisecond precision
	Customer  string    // the bank's reference of who enrolled with a code; else empty
}

// Credential is the secret half of an account, found by canonical username.
type Credential struct {
	Canonical  string
	UserID     string
	Password   string // PHC string, never the password
	Generation int64  // raised to end every earlier token of the user
	Disabled   bool
	// OneTimeUntil, when not zero, says that Password is a one-time password: it
	// is good for choosing another one, and until this time in Unix
	// milliseconds.
	OneTimeUntil int64
}

// OneTime reports whether the password is good for nothing but to choose
// another one.
func (c Credential) OneTime() bool { return c.OneTimeUntil != 0 }

// Attempt is one login attempt, for the audit log. It never holds a password
// or a token.
type Attempt struct {
	UserID    string // empty when the username is unknown
	At        time.Time
	Outcome   Outcome
	IP        string
	RequestID string
}

// Outcome says how a login attempt ended.
type Outcome string

// The outcomes of a login attempt.
const (
	OutcomeSuccess       Outcome = "success"
	OutcomeUnknownUser   Outcome = "unknown_user"
	OutcomeWrongPassword Outcome = "wrong_password"
	OutcomeDisabled      Outcome = "disabled"

	// A change of password is audited with them: a stolen token
	// could be used to guess the password there too.
	OutcomePasswordChanged Outcome = "password_changed"
	// OutcomeOneTime: a login with a one-time password, which counts for
	// nothing but a change of password.
	OutcomeOneTime Outcome = "one_time_password"
	// OutcomeOneTimeExpired: the right one-time password, too late.
	OutcomeOneTimeExpired Outcome = "one_time_password_expired"
	// OutcomeLimited: too many attempts, nothing was looked at.
	OutcomeLimited Outcome = "limited"

	// The outcomes of attempts that could not be decided: too many passwords
	// were being hashed, something did not answer, the client went away.
	OutcomeBusy        Outcome = "busy"
	OutcomeUnavailable Outcome = "unavailable"
	OutcomeCanceled    Outcome = "canceled"
)

// Errors of the domain. Stores and the Service wrap them; compare with
// errors.Is.
var (
	// ErrUsernameTaken: another account holds this canonical username.
	ErrUsernameTaken = errors.New("username is taken")
	// ErrNotFound: no such user or credential.
	ErrNotFound = errors.New("not found")
	// ErrBadCredentials: the username or the password is wrong, or the account
	// is disabled; which of them is not said.
	ErrBadCredentials = errors.New("username or password is wrong")
	// ErrChanged: the credential is not, or no longer, what the caller read.
	ErrChanged = errors.New("credential was changed meanwhile")
)

// InvalidError names the field of a request that was refused and what is
// allowed there. It never holds the refused value.
type InvalidError struct {
	Field  string // "username", "password", "code", "current" or "new"
	Reason string // what is wrong and what is allowed, a sentence for the person
}

func (e *InvalidError) Error() string { return fmt.Sprintf("%s: %s", e.Field, e.Reason) }

// Store keeps accounts and the login audit.
//
// Every method may also return an *unavailable.Error when the store does not
// answer. Implementations pass storetest.Run.
type Store interface {
	// CreateUser stores u and c, c last: a crash between the two leaves no
	// name that cannot log in. ErrUsernameTaken when c.Canonical is held; then
	// nothing that anybody can see was stored. Of two concurrent calls with one
	// canonical name exactly one succeeds. A call repeated with the same u.ID,
	// because an answer was lost, succeeds again.
	CreateUser(ctx context.Context, u User, c Credential) error

	// Credential returns the credential of a canonical username, read from the
	// primary, or ErrNotFound.
	Credential(ctx context.Context, canonical string) (Credential, error)

	// ReplacePassword stores a new PHC string for a canonical username if the
	// stored one still is old, and does nothing if it is not. ErrNotFound when
	// there is no such credential.
	ReplacePassword(ctx context.Context, canonical, old, phc string) error

	// ReplaceCredential stores next if the stored credential still is old, both
	// of one canonical username and user. ErrChanged when it is not; ErrNotFound
	// when there is none. Of several concurrent calls with one old and
	// a next of their own exactly one succeeds. A call repeated because an
	// answer was lost succeeds again.
	ReplaceCredential(ctx context.Context, old, next Credential) error

	// User returns a user by id, or ErrNotFound. It may be read from a
	// secondary, with a second look at the primary before ErrNotFound.
	User(ctx context.Context, id string) (User, error)

	// RecordAttempt appends to the login audit.
	RecordAttempt(ctx context.Context, a Attempt) error
}

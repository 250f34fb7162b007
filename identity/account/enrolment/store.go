package enrolment

import (
	"context"
	"errors"
	"time"

	"github.com/earlybird/earlybird/identity/account"
)

// Issue is one step in the history of a customer's codes: a code was issued, which
// ended the one before, or the one before was revoked.
type Issue struct {
	Customer string
	Number   int64     // 1, 2, 3 ... of this customer; the latest holds
	Hash     string    // of the code; empty: revoked
	Expires  time.Time // UTC, in milliseconds; zero when revoked
	At       time.Time // UTC, in milliseconds
	By       string    // the operator
}

// live reports whether the code works at a time, as far as the issue can tell.
func (i Issue) live(now time.Time) bool { return i.Hash != "" && now.Before(i.Expires) }

// Claim says which account a customer holds. It stays when the account is deleted,
// until an operator releases the customer.
type Claim struct {
	Customer string
	UserID   string
	At       time.Time // UTC, in milliseconds
	// Pending is the account while it may not have been created yet; nil: it was.
	Pending *Pending
}

// Pending is the account that a registration asked for.
type Pending struct {
	User       account.User
	Credential account.Credential
}

// Errors of a Store. Compare with errors.Is.
var (
	// ErrNotFound: no such code, issue or claim.
	ErrNotFound = errors.New("not found")
	// ErrClaimed: the customer holds another account.
	ErrClaimed = errors.New("the customer holds an account")
)

// Store keeps issues and claims, and the accounts. Every method may also return an
// *unavailable.Error. Reads are from the primary. Implementations pass
// storetest.RunEnrolment.
type Store interface {
	account.Store

	// AddIssues stores issues of different customers. Of two issues of one customer
	// with one number exactly one is stored; held are the indexes of those that lost to
	// another, in order. When it fails, each of them may be stored or not. A call
	// repeated with the same issues, because an answer was lost, succeeds again.
	AddIssues(ctx context.Context, issues []Issue) (held []int, err error)
	// Issue returns an issue by its number, or ErrNotFound.
	Issue(ctx context.Context, customer string, number int64) (Issue, error)
	// Code returns customer, number and expiry of the issue of a code, or ErrNotFound.
	// A code that has expired may be gone.
	Code(ctx context.Context, hash string) (Issue, error)

	// AddClaim stores a claim, or fails with ErrClaimed. Of concurrent claims of one
	// customer exactly one is stored. A call repeated with the same user id, because an
	// answer was lost, succeeds again.
	AddClaim(ctx context.Context, c Claim) error
	// Claim returns the claim of a customer, or ErrNotFound.
	Claim(ctx context.Context, customer string) (Claim, error)
	// SettleClaim notes that the account of a claim was created. It does nothing when
	// the customer's claim is of another user, or gone.
	SettleClaim(ctx context.Context, customer, userID string) error
	// RemoveClaim removes a claim of this user. It does nothing when the customer's
	// claim is of another user, or gone.
	RemoveClaim(ctx context.Context, customer, userID string) error
}

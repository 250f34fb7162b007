package enrolment

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/earlybird/earlybird/identity/account"
)

var _ account.Enrolment = (*Registry)(nil)

// Registry lets those register who have a code.
type Registry struct {
	store Store
	now   func() time.Time
}

// NewRegistry returns a registry on a store. now is time.Now when it is nil.
func NewRegistry(store Store, now func() time.Time) *Registry {
	if now == nil {
		now = time.Now
	}
	return &Registry{store, now}
}

// Check implements account.Enrolment.
func (*Registry) Check(code string) error {
	_, err := ParseCode(code)
	return err
}

// Admit implements account.Enrolment. For every code it makes the same three
// lookups, so that the time of a refusal does not tell its reason.
func (r *Registry) Admit(ctx context.Context, text string) (account.Admission, error) {
	code, err := ParseCode(text)
	if err != nil {
		return account.Admission{}, err
	}
	issue, err := r.store.Code(ctx, code.Hash())
	known := err == nil
	if errors.Is(err, ErrNotFound) {
		issue, err = Issue{Customer: code.Hash()}, nil // stands in for the customer, and is none
	}
	if err != nil {
		return account.Admission{}, fmt.Errorf("look for the code: %w", err)
	}
	_, err = r.store.Issue(ctx, issue.Customer, issue.Number+1)
	latest := errors.Is(err, ErrNotFound)
	if err != nil && !latest {
		return account.Admission{}, fmt.Errorf("look for a later code: %w", err)
	}
	claim, err := r.store.Claim(ctx, issue.Customer)
	claimed := err == nil
	if err != nil && !errors.Is(err, ErrNotFound) {
		return account.Admission{}, fmt.Errorf("look for the customer's account: %w", err)
	}
	if !known || !latest || !r.now().Before(issue.Expires) {
		return account.Admission{}, account.ErrCode
	}
	if !claimed {
		return account.Admission{Customer: issue.Customer}, nil
	}
	if claim.Pending == nil {
		return account.Admission{}, account.ErrCode
	}
	// A registration was cut off, or is under way.
	switch err := settle(ctx, r.store, claim); {
	case errors.Is(err, account.ErrUsernameTaken):
		return account.Admission{Customer: issue.Customer}, nil
	case err != nil:
		return account.Admission{}, err
	}
	return account.Admission{Customer: issue.Customer, Held: &claim.Pending.User, Password: claim.Pending.Credential.Password}, nil
}

// Create implements account.Enrolment. Once the claim is stored, the rest is done
// also for a client that has gone.
func (r *Registry) Create(ctx context.Context, u account.User, c account.Credential) error {
	claim := Claim{Customer: u.Customer, UserID: u.ID, At: u.CreatedAt, Pending: &Pending{u, c}}
	err := r.store.AddClaim(ctx, claim)
	if errors.Is(err, ErrClaimed) {
		return account.ErrCode // another registration was faster
	}
	if err != nil {
		return fmt.Errorf("claim for user %s: %w", u.ID, err)
	}
	return settle(context.WithoutCancel(ctx), r.store, claim)
}

// settle creates the account of a pending claim. Several may do so at once. When
// the name has gone to another account it removes the claim and fails with
// account.ErrUsernameTaken.
func settle(ctx context.Context, store Store, c Claim) error {
	err := store.CreateUser(ctx, c.Pending.User, c.Pending.Credential)
	if errors.Is(err, account.ErrUsernameTaken) {
		if removeErr := store.RemoveClaim(ctx, c.Customer, c.UserID); removeErr != nil {
			return fmt.Errorf("remove claim of user %s: %w", c.UserID, removeErr)
		}
		return err
	}
	if err != nil {
		return fmt.Errorf("create user %s: %w", c.UserID, err)
	}
	// The account exists. If this fails the claim stays pending, and is settled by who
	// reads it next.
	_ = store.SettleClaim(ctx, c.Customer, c.UserID)
	return nil
}

package enrolment

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/earlybird/earlybird/identity/account"
)

// AdminConfig configures an Admin. Store is required.
type AdminConfig struct {
	Store Store
	By    string           // the operator, for the record
	Now   func() time.Time // nil: time.Now
}

// Admin issues codes to customers and ends them. Its caller records who did what.
type Admin struct{ cfg AdminConfig }

// NewAdmin returns an Admin.
func NewAdmin(c AdminConfig) *Admin {
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Admin{c}
}

// Status says how a customer stands.
type Status string

// The statuses of a customer.
const (
	StatusNone     Status = "none"     // no code was ever issued
	StatusLive     Status = "live"     // there is a code that works
	StatusExpired  Status = "expired"  // the code has expired
	StatusRevoked  Status = "revoked"  // the code was revoked
	StatusEnrolled Status = "enrolled" // the customer holds an account
	StatusDeleted  Status = "deleted"  // the account was deleted; no code works
)

// Customer is a customer as an operator sees them.
type Customer struct {
	Reference string
	Status    Status
	Issue     Issue        // the latest; Number is 0 when there is none
	Claim     Claim        // zero without an account
	User      account.User // zero without an account, and when it was deleted
}

// Show returns how a customer stands, StatusNone for one that nobody knows. A
// registration that was cut off is settled first.
func (a *Admin) Show(ctx context.Context, reference string) (Customer, error) {
	found, err := a.show(ctx, reference)
	if err != nil {
		return Customer{}, fmt.Errorf("customer %q: %w", reference, err)
	}
	return found, nil
}

func (a *Admin) show(ctx context.Context, reference string) (Customer, error) {
	found := Customer{Reference: reference, Status: StatusNone}
	for n := int64(1); ; n++ {
		issue, err := a.cfg.Store.Issue(ctx, reference, n)
		if errors.Is(err, ErrNotFound) {
			break
		}
		if err != nil {
			return found, err
		}
		found.Issue = issue
	}
	if found.Issue.Number == 0 { // then there is no claim: it takes a code
		return found, nil
	}
	claim, err := a.cfg.Store.Claim(ctx, reference)
	if err == nil && claim.Pending != nil {
		err = settle(ctx, a.cfg.Store, claim)
	}
	switch {
	case err == nil:
		found.Claim, found.Status = claim, StatusEnrolled
		found.User, err = a.cfg.Store.User(ctx, claim.UserID)
		if errors.Is(err, account.ErrNotFound) {
			found.Status, err = StatusDeleted, nil
		}
		return found, err
	case !errors.Is(err, ErrNotFound) && !errors.Is(err, account.ErrUsernameTaken):
		return found, err
	case found.Issue.live(a.cfg.Now()):
		found.Status = StatusLive
	case found.Issue.Hash == "":
		found.Status = StatusRevoked
	default:
		found.Status = StatusExpired
	}
	return found, nil
}

// Issued is what came of issuing a code to a customer.
type Issued struct {
	Customer string
	Code     Code // empty: skipped
	// Skipped says why there is no code: StatusEnrolled, StatusDeleted, StatusLive, or
	// StatusNone when somebody else issued one or revoked in the same moment.
	Skipped Status
}

// readers is how many customers are looked up at once.
const readers = 8

// Issue gives each customer a code that is good until a time. It skips who holds
// an account, who did until it was deleted, and, unless reissue says that it ends,
// who has a live code. When it fails, any of the customers may have got a code that
// nobody knows; with reissue it can be repeated for all of them.
func (a *Admin) Issue(ctx context.Context, customers []string, expires time.Time, reissue bool) ([]Issued, error) {
	all := make([]Issued, len(customers))
	issues := make([]Issue, len(customers))
	now := a.now()
	g, reading := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for i, reference := range customers {
		g.Go(func() error {
			found, err := a.Show(reading, reference)
			if err != nil {
				return err
			}
			all[i].Customer = reference
			switch {
			case found.Status == StatusEnrolled, found.Status == StatusDeleted, found.Status == StatusLive && !reissue:
				all[i].Skipped = found.Status
			default:
				all[i].Code = NewCode()
				issues[i] = Issue{
					Customer: reference, Number: found.Issue.Number + 1, Hash: all[i].Code.Hash(),
					Expires: expires.UTC().Truncate(time.Millisecond), At: now, By: a.cfg.By,
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var wanted []Issue
	var of []int
	for i, issue := range issues {
		if issue.Hash != "" {
			wanted, of = append(wanted, issue), append(of, i)
		}
	}
	held, err := a.cfg.Store.AddIssues(ctx, wanted)
	if err != nil {
		return nil, fmt.Errorf("issue codes: %w", err)
	}
	for _, i := range held {
		all[of[i]] = Issued{Customer: customers[of[i]], Skipped: StatusNone}
	}
	return all, nil
}

func (a *Admin) now() time.Time { return a.cfg.Now().UTC().Truncate(time.Millisecond) }

// ErrRefused reports that a customer is in no state for what was asked.
var ErrRefused = errors.New("refused")

// Revoke ends a customer's code. It fails with ErrRefused when there is no live
// one.
func (a *Admin) Revoke(ctx context.Context, reference string) (Customer, error) {
	found, err := a.Show(ctx, reference)
	if err != nil {
		return Customer{}, err
	}
	if found.Status != StatusLive {
		return found, fmt.Errorf("%w: customer %q has no live code", ErrRefused, reference)
	}
	return a.revoke(ctx, found)
}

func (a *Admin) revoke(ctx context.Context, found Customer) (Customer, error) {
	revoked := Issue{Customer: found.Reference, Number: found.Issue.Number + 1, At: a.now(), By: a.cfg.By}
	held, err := a.cfg.Store.AddIssues(ctx, []Issue{revoked})
	if err != nil {
		return Customer{}, fmt.Errorf("revoke the code of customer %q: %w", found.Reference, err)
	}
	if len(held) > 0 {
		return Customer{}, fmt.Errorf("%w: somebody else issued or revoked a code of customer %q in this moment", ErrRefused, found.Reference)
	}
	return a.Show(ctx, found.Reference)
}

// Release lets a customer whose account was deleted enrol again, with a new code.
// It fails with ErrRefused for any other customer. It may be repeated after it was
// cut off.
func (a *Admin) Release(ctx context.Context, reference string) (Customer, error) {
	found, err := a.Show(ctx, reference)
	if err != nil {
		return Customer{}, err
	}
	if found.Status != StatusDeleted {
		return found, fmt.Errorf("%w: customer %q holds no place of a deleted account", ErrRefused, reference)
	}
	if found.Issue.Hash != "" { // the code was used, and must not work again
		if _, err := a.revoke(ctx, found); err != nil {
			return Customer{}, err
		}
	}
	if err := a.cfg.Store.RemoveClaim(ctx, reference, found.Claim.UserID); err != nil {
		return Customer{}, fmt.Errorf("release customer %q: %w", reference, err)
	}
	return a.Show(ctx, reference)
}

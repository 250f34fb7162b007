package account

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"time"
)

// AdminStore is what an Admin needs of a store beyond a Store. Every method may
// fail with an *unavailable.Error; what yields ends with its first error.
// Implementations pass storetest.RunAdmin.
type AdminStore interface {
	Store

	// AttemptsOf yields the attempts at a user's account, the latest first.
	AttemptsOf(ctx context.Context, userID string) iter.Seq2[Attempt, error]

	// Credentials yields the credentials of the names that begin with prefix, in
	// the order of their canonical names: of all accounts, or of the disabled ones
	// alone. They come without the password.
	Credentials(ctx context.Context, prefix string, disabledOnly bool) iter.Seq2[Credential, error]

	// Users returns those of the users that there are, by their ids.
	Users(ctx context.Context, ids []string) (map[string]User, error)

	// ForgetAddresses removes the address and the request id from every recorded
	// attempt at a user's account, and returns from how many.
	ForgetAddresses(ctx context.Context, userID string) (int64, error)

	// SettleClaim forgets what is kept of the registration of an enrolled customer
	// until it is known to have ended, as enrolment.Store has it.
	SettleClaim(ctx context.Context, customer, userID string) error

	// DeleteUser removes a user, if there is one.
	DeleteUser(ctx context.Context, id string) error

	// DeleteCredential removes the credential of a canonical name, if it is this
	// user's: another may have registered the name since.
	DeleteCredential(ctx context.Context, canonical, userID string) error
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
	return accountOf(u, c), nil
}

func accountOf(u User, c Credential) Account {
	a := Account{User: u, Generation: c.Generation, Disabled: c.Disabled}
	if c.OneTime() {
		a.OneTimeUntil = time.UnixMilli(c.OneTimeUntil).UTC()
	}
	return a
}

// Attempts returns the last n attempts at an account, the latest first; all of
// them when n is 0.
func (a *Admin) Attempts(ctx context.Context, userID string, n int) ([]Attempt, error) {
	var all []Attempt
	for at, err := range a.cfg.Store.AttemptsOf(ctx, userID) {
		if err != nil {
			return nil, fmt.Errorf("read login attempts: %w", err)
		}
		if all = append(all, at); len(all) == n {
			break
		}
	}
	return all, nil
}

// listedAtOnce is how many users are read in one go for a list of accounts.
const listedAtOnce = 500

// List yields the accounts whose canonical names begin with prefix, in the order
// of those names: all of them, or the disabled ones alone. An account that Delete
// did not finish removing has no CreatedAt, and its canonical name as Username. It
// ends with the first error.
func (a *Admin) List(ctx context.Context, prefix string, disabledOnly bool) iter.Seq2[Account, error] {
	return func(yield func(Account, error) bool) {
		for batch, err := range batches(a.cfg.Store.Credentials(ctx, prefix, disabledOnly)) {
			if err != nil {
				yield(Account{}, fmt.Errorf("read credentials: %w", err))
				return
			}
			ids := make([]string, len(batch))
			for i, c := range batch {
				ids[i] = c.UserID
			}
			users, err := a.cfg.Store.Users(ctx, ids)
			if err != nil {
				yield(Account{}, fmt.Errorf("read users: %w", err))
				return
			}
			for _, c := range batch {
				u, found := users[c.UserID]
				if !found {
					u = User{ID: c.UserID, Username: c.Canonical, Canonical: c.Canonical}
				}
				if !yield(accountOf(u, c), nil) {
					return
				}
			}
		}
	}
}

// batches yields what comes, listedAtOnce at a time.
func batches[T any](all iter.Seq2[T, error]) iter.Seq2[[]T, error] {
	return func(yield func([]T, error) bool) {
		var batch []T
		for one, err := range all {
			if err != nil {
				yield(nil, err)
				return
			}
			if batch = append(batch, one); len(batch) == listedAtOnce {
				if !yield(batch, nil) {
					return
				}
				batch = batch[:0]
			}
		}
		if len(batch) > 0 {
			yield(batch, nil)
		}
	}
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
		return Account{}, fmt.Errorf("%s %s: %w", name, before.ID, err) // the id: the record of actions outlives the name
	}
	after, showErr := a.Show(ctx, username)
	return after, errors.Join(err, showErr)
}

// Deleting names the account that Delete would remove, also one that an earlier
// Delete did not finish removing. It fails with ErrNotFound or an
// *unavailable.Error.
func (a *Admin) Deleting(ctx context.Context, username string) (User, error) {
	canonical, err := Canonical(username)
	if err != nil {
		return User{}, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	c, err := a.cfg.Store.Credential(ctx, canonical)
	if err != nil {
		return User{}, fmt.Errorf("read credential: %w", err)
	}
	u, err := a.cfg.Store.User(ctx, c.UserID)
	if errors.Is(err, ErrNotFound) {
		return User{ID: c.UserID, Username: canonical, Canonical: canonical}, nil
	}
	if err != nil {
		return User{}, fmt.Errorf("read user: %w", err)
	}
	return u, nil
}

// Delete removes an account for good: the user, the credential, and the addresses
// in the audit. What keeps the user's id (the audit, the log of a campaign) leads to
// nobody then, but for the claim of a customer who enrolled, which stays. It returns how many recorded attempts had an address. With
// ErrNotAnnounced the account is removed, and the edges will hear later that its
// tokens are dead.
//
// First nobody can log in and every token is ended. The credential, by which the
// account is found, goes last: a Delete that was cut off is repeated by name, and
// until then the name stays taken by an account that opens nothing. u is what
// Deleting returned; another account that has the name meanwhile is left alone.
func (a *Admin) Delete(ctx context.Context, u User) (attempts int64, err error) {
	told := endTokens(ctx, a.cfg.Store, a.cfg.Revoker, u.Canonical, func(c Credential) (Credential, error) {
		if c.UserID != u.ID {
			return Credential{}, ErrNotFound
		}
		c.Disabled = true
		return c, nil
	})
	if told != nil && !errors.Is(told, ErrNotAnnounced) {
		return 0, fmt.Errorf("end the tokens of %s: %w", u.ID, told)
	}
	// The second time is for attempts that were made until the credential was gone.
	forget := func() error {
		n, err := a.cfg.Store.ForgetAddresses(ctx, u.ID)
		attempts += n
		return err
	}
	settle := func() error {
		if u.Customer == "" {
			return nil
		}
		return a.cfg.Store.SettleClaim(ctx, u.Customer, u.ID) // else whoever reads the claim creates the account again
	}
	for _, step := range []func() error{
		settle,
		func() error { return a.cfg.Store.DeleteUser(ctx, u.ID) },
		forget,
		func() error { return a.cfg.Store.DeleteCredential(ctx, u.Canonical, u.ID) },
		forget,
	} {
		if err := step(); err != nil {
			return attempts, fmt.Errorf("delete %s: %w", u.ID, err)
		}
	}
	return attempts, told
}

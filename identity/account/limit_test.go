package account_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/account/memstore"
	"github.com/earlybird/earlybird/identity/limit"
	"github.com/earlybird/earlybird/identity/password"
)

// limiter is a *limit.Limiter as the service asks for it.
type limiter struct{ *limit.Limiter }

func (l limiter) Take(ctx context.Context, name, address string) (account.Pass, error) {
	pass, err := l.Limiter.Take(ctx, name, address)
	if err != nil {
		return nil, err
	}
	return pass, nil
}

// limited is a fixture with limits, kept in memory.
func limited(t *testing.T, c limit.Config) changing {
	t.Helper()
	f := changing{store: &changeStore{Store: memstore.New()}, hasher: &countingHasher{prefix: "new:"}, generations: newGenerations()}
	var err error
	f.Service, err = account.NewService(account.ServiceConfig{
		Store: f.store, Hasher: f.hasher, Revoker: f.generations, Limiter: limiter{limit.New(c)}, MinPasswordScore: 2,
		Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	if f.user, err = f.Register(t.Context(), account.Registration{Username: "Alice", Password: strong, IP: "198.51.100.9"}); err != nil {
		t.Fatal(err)
	}
	return f
}

const strong = "correct horse battery staple"

var hourly = limit.Rate{Burst: 3, Every: time.Hour}

// attempt is one that fails unless the password is right.
type attemptFunc func(f changing, i int) error

func logIn(username, password string) attemptFunc {
	return func(f changing, i int) error {
		_, err := f.Authenticate(context.Background(), account.LoginRequest{Username: username, Password: password, IP: "192.0.2.1", RequestID: fmt.Sprint(i)})
		return err
	}
}

func TestLimits(t *testing.T) {
	change := func(current string) attemptFunc {
		return func(f changing, _ int) error {
			return f.ChangePassword(context.Background(), account.ChangeRequest{UserID: f.user.ID, Current: current, New: "battery horse correct staple", IP: "192.0.2.1"})
		}
	}
	register := func(f changing, i int) error {
		_, err := f.Register(context.Background(), account.Registration{Username: fmt.Sprint("person", i), Password: strong, IP: "192.0.2.1"})
		return err
	}
	perAccount, perAddress := limit.Config{Both: hourly}, limit.Config{Address: hourly}
	for _, test := range []struct {
		name    string
		limits  limit.Config
		attempt attemptFunc
		after   int // refused after so many; 0: never
	}{
		{"wrong password", perAccount, logIn("alice", "wrong"), 3},
		{"wrong password, the name in other forms", perAccount, func(f changing, i int) error {
			return logIn([]string{"alice", "ALICE", "\uff21lice"}[i%3], "wrong")(f, i)
		}, 3},
		{"unknown name", perAccount, logIn("bob", "wrong"), 3},
		{"impossible name", perAccount, logIn("\x00", "wrong"), 3},
		{"right password", perAccount, logIn("alice", strong), 0},
		{"right password, one address", perAddress, logIn("alice", strong), 3},
		{"wrong current password", perAccount, change("wrong"), 3},
		{"weak new password", perAccount, func(f changing, _ int) error {
			return f.ChangePassword(context.Background(), account.ChangeRequest{UserID: f.user.ID, Current: strong, New: "password1", IP: "192.0.2.1"})
		}, 0},
		{"registrations", perAddress, register, 3},
		{"registrations are of no account", perAccount, register, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := limited(t, test.limits)
			work := func() int { return f.hasher.work + f.hasher.hashes }
			after, before := 0, work()
			for i := range 6 {
				before = work()
				if err := test.attempt(f, i); errors.Is(err, limit.ErrLimited) {
					after = i
					break
				}
			}
			if after != test.after {
				t.Fatalf("refused after %d attempts, want %d", after, test.after)
			}
			if after > 0 && work() != before {
				t.Error("a refused attempt was hashed")
			}
		})
	}
}

// Who guesses at a name before it is anybody's does not lock its first owner out.
func TestNewOwnerIsNotLockedOut(t *testing.T) {
	f := limited(t, limit.Config{Account: hourly})
	from := func(address, password string) error {
		_, err := f.Authenticate(t.Context(), account.LoginRequest{Username: "carol", Password: password, IP: address})
		return err
	}
	for i := range 5 {
		_ = from(fmt.Sprint("203.0.113.", i), "a guess")
	}
	if _, err := f.Register(t.Context(), account.Registration{Username: "Carol", Password: strong, IP: "192.0.2.1"}); err != nil {
		t.Fatal(err)
	}
	if err := from("192.0.2.1", strong); err != nil {
		t.Errorf("from where the account was created: %v", err)
	}
	if err := from("203.0.113.9", strong); !errors.Is(err, limit.ErrLimited) {
		t.Errorf("from elsewhere: %v, want the limit", err)
	}
}

// Refused attempts are in the audit, and with the account's id if there is one.
func TestRefusedAttemptsAreAudited(t *testing.T) {
	for _, test := range []struct {
		name, username string
		known          bool
		want           account.Outcome
	}{
		{"limited", "ALICE", true, account.OutcomeLimited},
		{"limited, unknown", "bob", false, account.OutcomeLimited},
	} {
		t.Run(test.name, func(t *testing.T) {
			limits := limit.Config{Both: limit.Rate{Burst: 1, Every: time.Hour}}
			f := limited(t, limits)
			_ = logIn(test.username, "wrong")(f, 0)
			_ = logIn(test.username, "wrong")(f, 1)
			all := f.store.Attempts()
			want := account.Attempt{At: now.UTC(), Outcome: test.want, IP: "192.0.2.1", RequestID: "1"}
			if test.known {
				want.UserID = f.user.ID
			}
			if len(all) == 0 || all[len(all)-1] != want {
				t.Errorf("audit %+v, want it to end with %+v", all, want)
			}
		})
	}
}

// A flood of refused attempts does not become a flood of writes.
func TestAuditOfRefusedIsBounded(t *testing.T) {
	f := limited(t, limit.Config{Both: limit.Rate{Burst: 1, Every: time.Hour}})
	for i := range 1000 {
		_ = logIn("alice", "wrong")(f, i)
	}
	if n := len(f.store.Attempts()); n != 101 {
		t.Errorf("%d attempts in the audit, want the one that was decided and 100 refused ones", n)
	}
}

// An address over its limit takes no place in the queue for hashing, however
// often it tries. Checked by taking the place first.
func TestLimitedTakeNoPlaceInTheQueue(t *testing.T) {
	f := limited(t, limit.Config{Address: limit.Rate{Burst: 3, Every: time.Hour}})
	from := func(address string) map[string]error {
		_, login := f.Authenticate(t.Context(), account.LoginRequest{Username: "alice", Password: strong, IP: address})
		_, register := f.Register(t.Context(), account.Registration{Username: "bob", Password: strong, IP: address})
		change := f.ChangePassword(t.Context(), account.ChangeRequest{UserID: f.user.ID, Current: strong, New: "battery horse correct staple", IP: address})
		return map[string]error{"log in": login, "register": register, "change password": change}
	}
	from("192.0.2.1")
	f.hasher.full = &password.BusyError{RetryAfter: time.Second}
	for address, want := range map[string]error{"192.0.2.1": limit.ErrLimited, "192.0.2.2": password.ErrBusy} {
		for what, err := range from(address) {
			if !errors.Is(err, want) {
				t.Errorf("%s from %s: %v, want %v", what, address, err, want)
			}
		}
	}
}

// Busy times cost nobody their attempts.
func TestBusyIsNotAFailure(t *testing.T) {
	f := limited(t, limit.Config{Both: hourly})
	f.hasher.err = &password.BusyError{RetryAfter: time.Second}
	for i := range 10 {
		if err := logIn("alice", strong)(f, i); !errors.Is(err, password.ErrBusy) {
			t.Fatal(err)
		}
	}
	f.hasher.err = nil
	if err := logIn("alice", strong)(f, 0); err != nil {
		t.Error(err)
	}
}

func TestWeakPassword(t *testing.T) {
	f := limited(t, limit.Config{})
	for _, weak := range []string{"password1", "carolina1", "aaaaaaaaaa", "p@ssw0rd"} {
		var invalid *account.InvalidError
		_, err := f.Register(t.Context(), account.Registration{Username: "Carolina", Password: weak})
		if !errors.As(err, &invalid) || invalid.Field != "password" || !strings.Contains(invalid.Reason, "too easy to guess") || strings.Contains(invalid.Reason, weak) {
			t.Errorf("register with %s: %v", weak, err)
		}
		err = f.change(t.Context(), strong, weak)
		if !errors.As(err, &invalid) || invalid.Field != "new" {
			t.Errorf("change to %s: %v", weak, err)
		}
	}
	// The strength of the new password is no way around the current one.
	var invalid *account.InvalidError
	if err := f.change(t.Context(), "wrong", "password1"); !errors.As(err, &invalid) || invalid.Field != "current" {
		t.Errorf("wrong current and weak new password: %v", err)
	}
	if _, err := account.NewService(account.ServiceConfig{Store: f.store, Hasher: f.hasher, MinPasswordScore: 5}); err == nil {
		t.Error("a service with an impossible score was made")
	}
}

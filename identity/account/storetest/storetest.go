// Package storetest is the suite that every account.Store passes.
package storetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/unavailable"
)

// Run tests the stores that newStore returns, which must be empty.
func Run(t *testing.T, newStore func(t *testing.T) account.Store) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s account.Store)
	}{
		{"created account is found whole", testCreate},
		{"names that a database might misread", testOddNames},
		{"taken name", testTaken},
		{"two at once with one name", testRace},
		{"many at once with many names", testMany},
		{"repeated creation", testRepeated},
		{"not found", testNotFound},
		{"replace password", testReplacePassword},
		{"replace password at once", testReplaceRace},
		{"replace credential", testReplaceCredential},
		{"replace credential at once", testReplaceCredentialRace},
		{"new hash and new credential at once", testReplaceBoth},
		{"attempts", testAttempts},
		{"caller that has gone", testCancelled},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, newStore(t)) })
	}
}

// newAccount returns the two halves of an account with this canonical name.
func newAccount(canonical string) (account.User, account.Credential) {
	u := account.User{
		ID: rand.Text(), Username: "As Typed " + canonical, Canonical: canonical,
		CreatedAt: time.Date(2026, 11, 22, 9, 8, 7, 654_000_000, time.UTC),
	}
	c := account.Credential{
		Canonical: canonical, UserID: u.ID, Password: "$argon2id$of-" + u.ID,
		Generation: 1 << 40, Disabled: true,
	}
	return u, c
}

func create(t *testing.T, s account.Store, canonical string) (account.User, account.Credential) {
	t.Helper()
	u, c := newAccount(canonical)
	if err := s.CreateUser(t.Context(), u, c); err != nil {
		t.Fatalf("create %q: %v", canonical, err)
	}
	return u, c
}

// wantAccount checks that the store holds exactly these two halves.
func wantAccount(t *testing.T, s account.Store, u account.User, c account.Credential) {
	t.Helper()
	gotCredential, err := s.Credential(t.Context(), c.Canonical)
	if err != nil || gotCredential != c {
		t.Errorf("credential %q = %+v, %v; want %+v", c.Canonical, gotCredential, err, c)
	}
	gotUser, err := s.User(t.Context(), u.ID)
	if err != nil || gotUser != u {
		t.Errorf("user %q = %+v, %v; want %+v", u.ID, gotUser, err, u)
	}
}

func testCreate(t *testing.T, s account.Store) {
	u, c := create(t, s, "alice")
	other, otherCredential := create(t, s, "bob")
	wantAccount(t, s, u, c)
	wantAccount(t, s, other, otherCredential)
}

func testOddNames(t *testing.T, s account.Store) {
	for _, canonical := range []string{
		"$where", "a.b.c", `quo"te`, `back\slash`, "it's", "<b>&amp;", "100%", "zoë", "zürich", "李小龍", "😀-is-no-name", "null", "0", "1.0", "{}", "[1]", "e\u0301", "\u2028x",
	} {
		u, c := create(t, s, canonical)
		wantAccount(t, s, u, c)
	}
}

func testTaken(t *testing.T, s account.Store) {
	u, c := create(t, s, "alice")
	late, lateCredential := newAccount("alice")
	if err := s.CreateUser(t.Context(), late, lateCredential); !errors.Is(err, account.ErrUsernameTaken) {
		t.Errorf("create a taken name: %v, want ErrUsernameTaken", err)
	}
	if _, err := s.User(t.Context(), late.ID); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("user who was refused: %v, want ErrNotFound", err)
	}
	wantAccount(t, s, u, c)
}

func testRace(t *testing.T, s account.Store) {
	users, credentials := make([]account.User, callers), make([]account.Credential, callers)
	for i := range callers {
		users[i], credentials[i] = newAccount("alice")
	}
	errs := together(func(i int) error { return s.CreateUser(t.Context(), users[i], credentials[i]) })
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner < 0:
			winner = i
		case err == nil:
			t.Errorf("callers %d and %d both got the name", winner, i)
		case !errors.Is(err, account.ErrUsernameTaken):
			t.Errorf("caller %d: %v, want ErrUsernameTaken", i, err)
		}
	}
	if winner < 0 {
		t.Fatal("nobody got the name")
	}
	wantAccount(t, s, users[winner], credentials[winner])
}

func testMany(t *testing.T, s account.Store) {
	errs := together(func(i int) error {
		u, c := newAccount(fmt.Sprintf("user%d", i))
		if err := s.CreateUser(t.Context(), u, c); err != nil {
			return err
		}
		got, err := s.Credential(t.Context(), c.Canonical)
		if err == nil && got != c {
			err = fmt.Errorf("credential = %+v, want %+v", got, c)
		}
		return err
	})
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

func testRepeated(t *testing.T, s account.Store) {
	u, c := create(t, s, "alice")
	if err := s.CreateUser(t.Context(), u, c); err != nil {
		t.Errorf("create the same account again: %v, want success", err)
	}
	wantAccount(t, s, u, c)
}

func testNotFound(t *testing.T, s account.Store) {
	create(t, s, "alice")
	for _, canonical := range []string{"", "bob", "Alice", "alice ", "alic", "$gt"} {
		if _, err := s.Credential(t.Context(), canonical); !errors.Is(err, account.ErrNotFound) {
			t.Errorf("credential %q: %v, want ErrNotFound", canonical, err)
		}
		if _, err := s.User(t.Context(), canonical); !errors.Is(err, account.ErrNotFound) {
			t.Errorf("user %q: %v, want ErrNotFound", canonical, err)
		}
		if err := s.ReplacePassword(t.Context(), canonical, "old", "new"); !errors.Is(err, account.ErrNotFound) {
			t.Errorf("replace password of %q: %v, want ErrNotFound", canonical, err)
		}
		nobody := account.Credential{Canonical: canonical}
		if err := s.ReplaceCredential(t.Context(), nobody, nobody); !errors.Is(err, account.ErrNotFound) {
			t.Errorf("replace credential of %q: %v, want ErrNotFound", canonical, err)
		}
	}
}

func testReplacePassword(t *testing.T, s account.Store) {
	u, c := create(t, s, "alice")
	other, otherCredential := create(t, s, "bob")
	if err := s.ReplacePassword(t.Context(), "alice", c.Password, "second"); err != nil {
		t.Fatal(err)
	}
	if err := s.ReplacePassword(t.Context(), "alice", c.Password, "third"); err != nil {
		t.Errorf("replace a password that has changed: %v, want nothing to happen", err)
	}
	c.Password = "second"
	wantAccount(t, s, u, c)
	wantAccount(t, s, other, otherCredential)
}

func testReplaceRace(t *testing.T, s account.Store) {
	_, c := create(t, s, "alice")
	errs := together(func(i int) error {
		return s.ReplacePassword(t.Context(), "alice", c.Password, fmt.Sprintf("new%d", i))
	})
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	got, err := s.Credential(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	if got.Password == c.Password || got.UserID != c.UserID || got.Generation != c.Generation {
		t.Errorf("credential = %+v, want a new password and the rest of %+v", got, c)
	}
}

func testReplaceCredential(t *testing.T, s account.Store) {
	u, first := create(t, s, "alice")
	other, otherCredential := create(t, s, "bob")
	second := first
	second.Password, second.Generation, second.Disabled = "second", first.Generation+1, false
	for _, again := range []string{"", " again, as after a lost answer"} {
		if err := s.ReplaceCredential(t.Context(), first, second); err != nil {
			t.Fatalf("replace%s: %v", again, err)
		}
		wantAccount(t, s, u, second)
	}
	for name, stale := range map[string]func(c *account.Credential){
		"password":   func(c *account.Credential) { c.Password = "first" },
		"generation": func(c *account.Credential) { c.Generation-- },
		"disabled":   func(c *account.Credential) { c.Disabled = true },
		"user":       func(c *account.Credential) { c.UserID = "another" },
		"one time":   func(c *account.Credential) { c.OneTimeUntil = 1 },
	} {
		old, third := second, second
		stale(&old)
		third.Password = "third"
		if err := s.ReplaceCredential(t.Context(), old, third); !errors.Is(err, account.ErrChanged) {
			t.Errorf("replace a credential with another %s: %v, want ErrChanged", name, err)
		}
	}
	wantAccount(t, s, u, second)
	oneTime := second
	oneTime.OneTimeUntil = 1_790_000_000_123
	for _, step := range [][2]account.Credential{{second, oneTime}, {oneTime, second}, {second, oneTime}} {
		if err := s.ReplaceCredential(t.Context(), step[0], step[1]); err != nil {
			t.Fatalf("one-time password: %v", err)
		}
		wantAccount(t, s, u, step[1])
	}
	if err := s.ReplaceCredential(t.Context(), second, first); !errors.Is(err, account.ErrChanged) {
		t.Errorf("replace a one-time password that is not expected: %v, want ErrChanged", err)
	}
	wantAccount(t, s, other, otherCredential)
}

func testReplaceCredentialRace(t *testing.T, s account.Store) {
	u, old := create(t, s, "alice")
	next := make([]account.Credential, callers)
	for i := range callers {
		next[i] = old
		next[i].Password, next[i].Generation = fmt.Sprintf("new%d", i), old.Generation+int64(i+1)
	}
	errs := together(func(i int) error { return s.ReplaceCredential(t.Context(), old, next[i]) })
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner < 0:
			winner = i
		case err == nil:
			t.Errorf("callers %d and %d both succeeded", winner, i)
		case !errors.Is(err, account.ErrChanged):
			t.Errorf("caller %d: %v, want ErrChanged", i, err)
		}
	}
	if winner < 0 {
		t.Fatal("nobody succeeded")
	}
	wantAccount(t, s, u, next[winner])
}

// A login that hashes the password anew must not undo a change of it.
func testReplaceBoth(t *testing.T, s account.Store) {
	for round := range 8 {
		u, old := create(t, s, fmt.Sprintf("alice%d", round))
		next := old
		next.Password, next.Generation = "changed", old.Generation+1
		errs := together(func(i int) error {
			if i == 0 {
				return s.ReplaceCredential(t.Context(), old, next)
			}
			return s.ReplacePassword(t.Context(), old.Canonical, old.Password, "rehashed")
		})
		if err := errors.Join(errs[1:]...); err != nil {
			t.Fatal(err)
		}
		want := next
		if errs[0] != nil { // the new hash came first: the change finds out, and begins again
			if !errors.Is(errs[0], account.ErrChanged) {
				t.Fatal(errs[0])
			}
			want = old
			want.Password = "rehashed"
		}
		wantAccount(t, s, u, want)
	}
}

func testAttempts(t *testing.T, s account.Store) {
	outcomes := []account.Outcome{
		account.OutcomeSuccess, account.OutcomeUnknownUser, account.OutcomeWrongPassword, account.OutcomeDisabled,
	}
	same := account.Attempt{UserID: "u", At: time.Now(), IP: "2001:db8::1", RequestID: "r"}
	errs := together(func(i int) error {
		a := same
		a.Outcome = outcomes[i%len(outcomes)]
		return s.RecordAttempt(t.Context(), a)
	})
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

func testCancelled(t *testing.T, s account.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	u, c := newAccount("alice")
	_, credentialErr := s.Credential(ctx, "alice")
	_, userErr := s.User(ctx, u.ID)
	for op, err := range map[string]error{
		"create":           s.CreateUser(ctx, u, c),
		"credential":       credentialErr,
		"user":             userErr,
		"replace password": s.ReplacePassword(ctx, "alice", "old", "new"),
		"replace whole":    s.ReplaceCredential(ctx, c, c),
		"record attempt":   s.RecordAttempt(ctx, account.Attempt{}),
	} {
		if !errors.Is(err, context.Canceled) || unavailable.Is(err) {
			t.Errorf("%s for a caller that has gone: %v, want context.Canceled and no outage", op, err)
		}
	}
}

// callers is how many act at once.
const callers = 16

// together lets every caller call at once and returns their errors.
func together(call func(i int) error) []error {
	var start, done sync.WaitGroup
	errs := make([]error, callers)
	start.Add(1)
	for i := range callers {
		done.Go(func() {
			start.Wait()
			errs[i] = call(i)
		})
	}
	start.Done()
	done.Wait()
	return errs
}

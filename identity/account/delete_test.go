package account_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/account/memstore"
	"github.com/earlybird/earlybird/identity/unavailable"
)

// crashingStore fails the nth write of a deletion, and every later one.
type crashingStore struct {
	*memstore.Store
	writes []string
	left   int
}

var errCrash = errors.New("the process died")

func (s *crashingStore) write(name string) error {
	if s.left == 0 {
		return errCrash
	}
	s.left--
	s.writes = append(s.writes, name)
	return nil
}

func (s *crashingStore) ReplaceCredential(ctx context.Context, old, next account.Credential) error {
	if err := s.write("disable"); err != nil {
		return err
	}
	return s.Store.ReplaceCredential(ctx, old, next)
}

func (s *crashingStore) DeleteUser(ctx context.Context, id string) error {
	if err := s.write("user"); err != nil {
		return err
	}
	return s.Store.DeleteUser(ctx, id)
}

func (s *crashingStore) ForgetAddresses(ctx context.Context, id string) (int64, error) {
	if err := s.write("addresses"); err != nil {
		return 0, err
	}
	return s.Store.ForgetAddresses(ctx, id)
}

func (s *crashingStore) DeleteCredential(ctx context.Context, canonical, id string) error {
	if err := s.write("credential"); err != nil {
		return err
	}
	return s.Store.DeleteCredential(ctx, canonical, id)
}

// TestDelete cuts a deletion off before each of its writes: nothing is half alive
// then, and a second one finishes. Delete the credential before the user, and the
// account that is left cannot be found by its name.
func TestDelete(t *testing.T) {
	order := []string{"disable", "user", "addresses", "credential", "addresses"}
	for cut := range len(order) + 1 {
		t.Run("after "+append(slices.Clone(order), "all")[cut], func(t *testing.T) {
			c := newChanging(t)
			old := c.wantLogin(t, secret)
			c.attempt(t)
			store := &crashingStore{Store: c.store.Store, left: cut}
			admin, err := account.NewAdmin(account.AdminConfig{Store: store, Revoker: c.generations, Now: func() time.Time { return now }})
			if err != nil {
				t.Fatal(err)
			}
			found, err := admin.Deleting(t.Context(), "ALICE")
			if err != nil || found != c.user {
				t.Fatalf("deleting %+v, %v; want %+v", found, err, c.user)
			}
			_, err = admin.Delete(t.Context(), found)
			if wantErr := cut < len(order); errors.Is(err, errCrash) != wantErr || err != nil && !wantErr {
				t.Fatalf("delete: %v, want a crash: %t", err, wantErr)
			}
			if !slices.Equal(store.writes, order[:cut]) {
				t.Errorf("wrote %q, want %q", store.writes, order[:cut])
			}
			if _, err := c.login(t.Context(), secret); cut > 0 && !errors.Is(err, account.ErrBadCredentials) {
				t.Errorf("login in between: %v, want ErrBadCredentials", err)
			}
			if got := c.generations.announced[c.user.ID]; cut > 0 && got <= old {
				t.Errorf("tokens of generation %d live on, announced is %d", old, got)
			}
			if _, err := admin.Enable(t.Context(), "alice"); cut > 1 && !errors.Is(err, account.ErrNotFound) {
				t.Errorf("enable half an account: %v, want ErrNotFound", err)
			}

			store.left = -1
			again, err := admin.Deleting(t.Context(), "alice")
			if cut < 4 {
				if err != nil || again.ID != c.user.ID {
					t.Fatalf("deleting again: %+v, %v; want the same account", again, err)
				}
				if _, err := admin.Delete(t.Context(), again); err != nil {
					t.Fatal(err)
				}
			} else if !errors.Is(err, account.ErrNotFound) {
				t.Errorf("deleting what is gone: %+v, %v; want ErrNotFound", again, err)
			}
			wantGone(t, c, cut != 4)
		})
	}
}

// attempt records an attempt with an address.
func (c changing) attempt(t *testing.T) {
	t.Helper()
	a := account.Attempt{UserID: c.user.ID, At: now, Outcome: account.OutcomeWrongPassword, IP: "192.0.2.1", RequestID: "r"}
	if err := c.store.RecordAttempt(t.Context(), a); err != nil {
		t.Fatal(err)
	}
}

// wantGone checks that nothing leads to the person, and that the name is free.
func wantGone(t *testing.T, c changing, forgotten bool) {
	t.Helper()
	if _, err := c.store.User(t.Context(), c.user.ID); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("the user: %v, want ErrNotFound", err)
	}
	kept := 0
	for _, a := range c.store.Attempts() {
		if a.UserID != c.user.ID {
			continue
		}
		kept++
		if forgotten && (a.IP != "" || a.RequestID != "") {
			t.Errorf("attempt %+v keeps an address", a)
		}
	}
	if kept == 0 {
		t.Error("the audit has forgotten the logins")
	}
	next, err := c.Register(t.Context(), account.Registration{Username: "Alice", Password: secret})
	if err != nil || next.ID == c.user.ID {
		t.Errorf("register the name again: %+v, %v", next, err)
	}
}

// Whoever has the name when a late deletion arrives keeps the account.
func TestDeleteOfAnotherAccount(t *testing.T) {
	c := newChanging(t)
	gone := c.user
	gone.ID = "who had the name before"
	if _, err := c.admin(t).Delete(t.Context(), gone); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("delete: %v, want ErrNotFound", err)
	}
	c.wantLogin(t, secret)
}

func TestDeleteWithoutRedis(t *testing.T) {
	c := newChanging(t)
	c.attempt(t)
	c.generations.announceErr = unavailable.New("redis", "announce", errors.New("down"))
	n, err := c.admin(t).Delete(t.Context(), c.user)
	if !errors.Is(err, account.ErrNotAnnounced) || n == 0 {
		t.Errorf("delete: %d addresses, %v; want it done, and ErrNotAnnounced", n, err)
	}
	wantGone(t, c, true)
}

func TestList(t *testing.T) {
	c := newChanging(t)
	for i := range 1200 { // several batches
		name := "bob-" + string(rune('a'+i/40)) + string(rune('a'+i%40/2)) + string(rune('0'+i%2))
		if err := c.store.CreateUser(t.Context(), account.User{ID: name, Username: "B" + name[1:], Canonical: name, CreatedAt: now},
			account.Credential{Canonical: name, UserID: name, Disabled: i%100 == 0}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.store.DeleteUser(t.Context(), c.user.ID); err != nil { // as half a deletion does
		t.Fatal(err)
	}
	for _, test := range []struct {
		prefix   string
		disabled bool
		want     int
	}{{"", false, 1201}, {"bob-", false, 1200}, {"bob-a", false, 40}, {"", true, 12}, {"carol", false, 0}} {
		last, n := "", 0
		for a, err := range c.admin(t).List(t.Context(), test.prefix, test.disabled) {
			if err != nil {
				t.Fatal(err)
			}
			if a.Canonical <= last || a.Username == "" || a.CreatedAt.IsZero() != (a.ID == c.user.ID) {
				t.Errorf("%+v after %q", a, last)
			}
			last, n = a.Canonical, n+1
		}
		if n != test.want {
			t.Errorf("prefix %q, disabled %t: %d accounts, want %d", test.prefix, test.disabled, n, test.want)
		}
	}
}

func TestCanonicalPrefix(t *testing.T) {
	for prefix, want := range map[string]string{"": "", "A": "a", "Zo\u00cb": "zo\u00eb", "ＡＬ": "al", "ΣΑΣ": "σασ"} {
		if got, err := account.CanonicalPrefix(prefix); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", prefix, got, err, want)
		}
	}
	for _, prefix := range []string{"a b", "\x00", "\xff", "a\tb"} {
		var invalid *account.InvalidError
		if _, err := account.CanonicalPrefix(prefix); !errors.As(err, &invalid) || invalid.Field != "prefix" {
			t.Errorf("%q: %v, want an InvalidError of prefix", prefix, err)
		}
	}
}

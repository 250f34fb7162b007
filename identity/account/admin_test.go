package account_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/unavailable"
)

func (c changing) admin(t *testing.T) *account.Admin {
	t.Helper()
	a, err := account.NewAdmin(account.AdminConfig{
		Store: c.store, Revoker: c.generations, Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAdmin(t *testing.T) {
	for _, test := range []struct {
		name     string
		act      func(a *account.Admin) func(ctx context.Context, username string) (account.Account, error)
		disabled bool // before
		raised   bool
		after    bool // disabled
	}{
		{"disable", func(a *account.Admin) func(context.Context, string) (account.Account, error) { return a.Disable }, false, true, true},
		{"disable", func(a *account.Admin) func(context.Context, string) (account.Account, error) { return a.Disable }, true, true, true},
		{"enable", func(a *account.Admin) func(context.Context, string) (account.Account, error) { return a.Enable }, true, false, false},
		{"enable", func(a *account.Admin) func(context.Context, string) (account.Account, error) { return a.Enable }, false, false, false},
		{"revoke", func(a *account.Admin) func(context.Context, string) (account.Account, error) { return a.Revoke }, false, true, false},
		{"revoke", func(a *account.Admin) func(context.Context, string) (account.Account, error) { return a.Revoke }, true, true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newChanging(t)
			c.store.Disable("alice", test.disabled)
			got, err := test.act(c.admin(t))(t.Context(), "ALICE")
			if err != nil {
				t.Fatal(err)
			}
			want := account.Account{User: c.user, Disabled: test.after}
			if test.raised {
				want.Generation = 1
			}
			if got != want || c.generations.announced[c.user.ID] != want.Generation {
				t.Errorf("account = %+v, announced %v; want %+v", got, c.generations.announced, want)
			}
			if _, err := c.login(t.Context(), secret); errors.Is(err, account.ErrBadCredentials) != test.after {
				t.Errorf("login: %v, want a refusal: %t", err, test.after)
			}
		})
	}
}

func TestAdminOfNobody(t *testing.T) {
	c := newChanging(t)
	for _, username := range []string{"bob", "", "\x00", "al"} {
		if _, err := c.admin(t).Disable(t.Context(), username); !errors.Is(err, account.ErrNotFound) {
			t.Errorf("disable %q: %v, want ErrNotFound", username, err)
		}
	}
}

func TestAdminFails(t *testing.T) {
	c := newChanging(t)
	c.generations.raiseErr = errors.New("no")
	if _, err := c.admin(t).Revoke(t.Context(), "alice"); !errors.Is(err, c.generations.raiseErr) {
		t.Errorf("revoke: %v, want %v", err, c.generations.raiseErr)
	}
}

// What is done while the edges cannot be told says both.
func TestAdminWithoutRedis(t *testing.T) {
	c := newChanging(t)
	c.generations.announceErr = unavailable.New("redis", "announce", errors.New("down"))
	got, err := c.admin(t).Disable(t.Context(), "alice")
	if !errors.Is(err, account.ErrNotAnnounced) || !unavailable.Is(err) || !got.Disabled {
		t.Errorf("disable: %+v, %v; want it done, and ErrNotAnnounced for the outage", got, err)
	}
}

func TestNewAdmin(t *testing.T) {
	c := newChanging(t)
	for name, config := range map[string]account.AdminConfig{
		"no revoker": {Store: c.store},
		"no store":   {Revoker: c.generations},
	} {
		if _, err := account.NewAdmin(config); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

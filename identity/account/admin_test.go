package account_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/outage"
)

func (c changing) admin(t *testing.T) *account.Admin {
	t.Helper()
	a, err := account.NewAdmin(account.AdminConfig{
		Store: c.store, Revoker: c.generations, By: "root@host", Now: func() time.Time { return now },
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
			action := account.Action{At: now.UTC().Truncate(time.Millisecond), By: "root@host", Name: test.name, UserID: c.user.ID}
			begun, done := action, action
			begun.Result, done.Result = account.ResultBegun, account.ResultDone
			if log := c.store.Actions(); !slices.Equal(log, []account.Action{begun, done}) {
				t.Errorf("log = %+v, want %+v", log, []account.Action{begun, done})
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
	if log := c.store.Actions(); len(log) > 0 {
		t.Errorf("log = %+v, want nothing", log)
	}
}

func TestAdminRecordsFailure(t *testing.T) {
	c := newChanging(t)
	c.generations.raiseErr = errors.New("no")
	if _, err := c.admin(t).Revoke(t.Context(), "alice"); !errors.Is(err, c.generations.raiseErr) {
		t.Errorf("revoke: %v, want %v", err, c.generations.raiseErr)
	}
	log := c.store.Actions()
	if len(log) != 2 || log[1].Result != account.ResultFailed {
		t.Errorf("log = %+v, want it to end with a failure", log)
	}
}

// What is done while the edges cannot be told says both.
func TestAdminWithoutRedis(t *testing.T) {
	c := newChanging(t)
	c.generations.announceErr = outage.New("redis", "announce", errors.New("down"))
	got, err := c.admin(t).Disable(t.Context(), "alice")
	if !errors.Is(err, account.ErrNotAnnounced) || !outage.Is(err) || !got.Disabled {
		t.Errorf("disable: %+v, %v; want it done, and ErrNotAnnounced for the outage", got, err)
	}
	if log := c.store.Actions(); len(log) != 2 || log[1].Result != account.ResultPending {
		t.Errorf("log = %+v, want it to end pending", log)
	}
}

// What cannot be recorded is not done.
func TestAdminWithoutLog(t *testing.T) {
	c := newChanging(t)
	c.store.err = errors.New("full")
	if _, err := c.admin(t).Revoke(t.Context(), "alice"); !errors.Is(err, c.store.err) {
		t.Errorf("revoke: %v, want %v", err, c.store.err)
	}
	if len(c.generations.stored) > 0 {
		t.Error("tokens were ended without a record")
	}
}

func TestNewAdmin(t *testing.T) {
	c := newChanging(t)
	for name, config := range map[string]account.AdminConfig{
		"nobody":     {Store: c.store, Revoker: c.generations},
		"no revoker": {Store: c.store, By: "root"},
		"no store":   {Revoker: c.generations, By: "root"},
	} {
		if _, err := account.NewAdmin(config); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

package account_test

import (
	"errors"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/account"
)

// reset replaces alice's password and returns the one-time password.
func (c changing) reset(t *testing.T) string {
	t.Helper()
	a, err := account.NewAdmin(account.AdminConfig{
		Store: c.store, Revoker: c.generations, Hasher: c.hasher, Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	got, oneTime, err := a.ResetPassword(t.Context(), "Alice")
	if err != nil {
		t.Fatal(err)
	}
	want := account.Account{User: c.user, Generation: got.Generation, OneTimeUntil: now.Add(24 * time.Hour).Truncate(time.Millisecond)}
	if got != want || got.Generation == 0 || len(oneTime) != 26 {
		t.Errorf("account %+v, one-time password of %d characters; want %+v with its tokens ended, and 26", got, len(oneTime), want)
	}
	return oneTime
}

// A one-time password opens an account once, and only to choose another.
func TestResetPassword(t *testing.T) {
	c := newChanging(t)
	oneTime := c.reset(t)
	if _, err := c.login(t.Context(), secret); !errors.Is(err, account.ErrBadCredentials) {
		t.Errorf("the password from before: %v", err)
	}
	credential, err := c.login(t.Context(), oneTime)
	if err != nil || !credential.OneTime() {
		t.Fatalf("the one-time password: %+v, %v", credential, err)
	}
	if err := c.change(t.Context(), oneTime, another); err != nil {
		t.Fatal(err)
	}
	if _, err := c.login(t.Context(), oneTime); !errors.Is(err, account.ErrBadCredentials) {
		t.Errorf("the one-time password again: %v", err)
	}
	if credential, err = c.login(t.Context(), another); err != nil || credential.OneTime() {
		t.Errorf("the new password: %+v, %v", credential, err)
	}
	var got []account.Outcome
	for _, a := range c.store.Attempts() {
		got = append(got, a.Outcome)
	}
	want := []account.Outcome{
		account.OutcomeWrongPassword, account.OutcomeOneTime, account.OutcomePasswordChanged, account.OutcomeWrongPassword, account.OutcomeSuccess,
	}
	if len(got) != len(want) {
		t.Fatalf("audit %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("audit %v, want %v", got, want)
		}
	}
}

func TestOneTimePasswordExpires(t *testing.T) {
	c := newChanging(t)
	oneTime := c.reset(t)
	credential, err := c.store.Credential(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	late := credential
	late.OneTimeUntil = now.UnixMilli() // as if a day had passed
	if err := c.store.ReplaceCredential(t.Context(), credential, late); err != nil {
		t.Fatal(err)
	}
	if _, err := c.login(t.Context(), oneTime); !errors.Is(err, account.ErrBadCredentials) {
		t.Errorf("login: %v, want a refusal", err)
	}
	var invalid *account.InvalidError
	if err := c.change(t.Context(), oneTime, another); !errors.As(err, &invalid) || invalid.Field != "current" {
		t.Errorf("change: %v, want a refusal of the current password", err)
	}
	if last := c.store.Attempts(); last[len(last)-1].Outcome != account.OutcomeOneTimeExpired {
		t.Errorf("audit %+v", last)
	}
}

func TestResetPasswordNeedsHasher(t *testing.T) {
	if _, _, err := newChanging(t).admin(t).ResetPassword(t.Context(), "alice"); err == nil {
		t.Error("no error without a hasher")
	}
}

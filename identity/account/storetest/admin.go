package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/unavailable"
)

// RunAdmin tests the stores that newStore returns, which must be empty.
func RunAdmin(t *testing.T, newStore func(t *testing.T) account.AdminStore) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s account.AdminStore)
	}{
		{"credentials by prefix", testCredentials},
		{"users by id", testUsers},
		{"addresses forgotten", testForgetAddresses},
		{"account deleted", testDelete},
		{"deletion of a name that is another's", testDeleteOfAnother},
		{"administrator who has gone", testAdminCancelled},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, newStore(t)) })
	}
}

func testCredentials(t *testing.T, s account.AdminStore) {
	want := map[string]account.Credential{}
	for _, name := range []string{"bob", "alice", "al", "alicia", "zoë", "al-", "аль", "李小龍", "al\U0001F600"} {
		u, c := newAccount(name)
		c.Disabled = name == "bob" || name == "alicia"
		if err := s.CreateUser(t.Context(), u, c); err != nil {
			t.Fatal(err)
		}
		c.Password = "" // which is not listed
		want[name] = c
	}
	for _, test := range []struct {
		prefix       string
		disabledOnly bool
		want         []string
	}{
		{"", false, slices.Sorted(maps.Keys(want))},
		{"al", false, []string{"al", "al-", "alice", "alicia", "al\U0001F600"}},
		{"alic", false, []string{"alice", "alicia"}},
		{"李", false, []string{"李小龍"}},
		{"x", false, nil},
		{"$gt", false, nil},
		{"", true, []string{"alicia", "bob"}},
		{"al", true, []string{"alicia"}},
	} {
		var got []string
		for c, err := range s.Credentials(t.Context(), test.prefix, test.disabledOnly) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, c.Canonical)
			if c != want[c.Canonical] {
				t.Errorf("credential %+v, want %+v", c, want[c.Canonical])
			}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("prefix %q, disabled only: %t: %q, want %q", test.prefix, test.disabledOnly, got, test.want)
		}
	}
	for _, err := range s.Credentials(t.Context(), "", false) {
		if err != nil {
			t.Error(err)
		}
		break // it can be left
	}
}

func testUsers(t *testing.T, s account.AdminStore) {
	want := map[string]account.User{}
	ids := []string{"nobody"}
	for i := range 30 {
		u, _ := create(t, s, fmt.Sprintf("user%d", i))
		want[u.ID], ids = u, append(ids, u.ID)
	}
	got, err := s.Users(t.Context(), ids)
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("users = %v, %v; want %v", got, err, want)
	}
	if got, err := s.Users(t.Context(), nil); err != nil || len(got) != 0 {
		t.Errorf("of nobody: %v, %v", got, err)
	}
}

func testForgetAddresses(t *testing.T, s account.AdminStore) {
	at := time.Date(2026, 11, 22, 1, 2, 3, 4_000_000, time.UTC)
	attempts := []account.Attempt{
		{UserID: "u", At: at, Outcome: account.OutcomeSuccess, IP: "192.0.2.1", RequestID: "r1"},
		{UserID: "u", At: at.Add(-1e9), Outcome: account.OutcomeWrongPassword, IP: "2001:db8::1"},
		{UserID: "u", At: at.Add(-2e9), Outcome: account.OutcomeDisabled, RequestID: "r3"},
		{UserID: "u", At: at.Add(-3e9), Outcome: account.OutcomeSuccess},
	}
	other := account.Attempt{UserID: "v", At: at, Outcome: account.OutcomeSuccess, IP: "192.0.2.1", RequestID: "r5"}
	for _, a := range append(attempts, other) {
		if err := s.RecordAttempt(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []int64{3, 0} {
		if n, err := s.ForgetAddresses(t.Context(), "u"); err != nil || n != want {
			t.Errorf("addresses forgotten: %d, %v; want %d", n, err, want)
		}
	}
	for i := range attempts {
		attempts[i].IP, attempts[i].RequestID = "", ""
	}
	if got, err := latest(t, s, "u", 0); err != nil || !slices.Equal(got, attempts) {
		t.Errorf("afterwards: %+v, %v; want %+v", got, err, attempts)
	}
	if got, err := latest(t, s, "v", 0); err != nil || !slices.Equal(got, []account.Attempt{other}) {
		t.Errorf("of another user: %+v, %v; want %+v", got, err, other)
	}
}

func testDelete(t *testing.T, s account.AdminStore) {
	u, c := create(t, s, "alice")
	other, otherCredential := create(t, s, "alicia")
	for range 2 { // a repeated deletion finds nothing to do
		if err := errors.Join(s.DeleteUser(t.Context(), u.ID), s.DeleteCredential(t.Context(), "alice", u.ID)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.User(t.Context(), u.ID); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("the user: %v, want ErrNotFound", err)
	}
	if _, err := s.Credential(t.Context(), "alice"); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("the credential: %v, want ErrNotFound", err)
	}
	for op, err := range map[string]error{
		"new hash":       s.ReplacePassword(t.Context(), "alice", c.Password, "late"),
		"new credential": s.ReplaceCredential(t.Context(), c, c),
	} {
		if !errors.Is(err, account.ErrNotFound) {
			t.Errorf("a late %s: %v, want ErrNotFound", op, err)
		}
	}
	wantAccount(t, s, other, otherCredential)
	create(t, s, "alice") // the name is free
}

func testDeleteOfAnother(t *testing.T, s account.AdminStore) {
	u, c := create(t, s, "alice")
	if err := s.DeleteCredential(t.Context(), "alice", "whoever had the name before"); err != nil {
		t.Fatal(err)
	}
	wantAccount(t, s, u, c)
}

func testAdminCancelled(t *testing.T, s account.AdminStore) {
	create(t, s, "alice")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, usersErr := s.Users(ctx, []string{"u"})
	_, forgetErr := s.ForgetAddresses(ctx, "u")
	errs := map[string]error{
		"users": usersErr, "forget addresses": forgetErr,
		"delete user": s.DeleteUser(ctx, "u"), "delete credential": s.DeleteCredential(ctx, "alice", "u"),
	}
	for _, err := range s.Credentials(ctx, "", false) {
		errs["credentials"] = err
	}
	for _, err := range s.AttemptsOf(ctx, "u") {
		errs["attempts"] = err
	}
	for _, op := range []string{"users", "forget addresses", "delete user", "delete credential", "credentials", "attempts"} {
		if err := errs[op]; !errors.Is(err, context.Canceled) || unavailable.Is(err) {
			t.Errorf("%s for a caller that has gone: %v, want context.Canceled and no outage", op, err)
		}
	}
}

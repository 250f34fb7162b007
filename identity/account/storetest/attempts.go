package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/account"
)

// AuditStore keeps the audit of logins and forgets what is old.
type AuditStore interface {
	account.AdminStore
	PruneAttempts(ctx context.Context, before time.Time) error
}

// RunAudit tests the audit of an empty store.
func RunAudit(t *testing.T, s AuditStore) {
	t.Helper()
	at := func(minute int) account.Attempt {
		return account.Attempt{
			UserID: "alice", At: time.Date(2026, 11, 22, 1, minute, 3, 4_000_000, time.UTC),
			Outcome: account.OutcomeWrongPassword, IP: "192.0.2.1", RequestID: "r",
		}
	}
	other := at(9)
	other.UserID = "bob"
	for _, a := range []account.Attempt{at(2), at(1), other, at(3)} {
		if err := s.RecordAttempt(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	want := func(when string, n int, want ...account.Attempt) {
		t.Helper()
		got, err := latest(t, s, "alice", n)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: the last %d are %+v, %v; want %+v", when, n, got, err, want)
		}
	}
	want("all", 5, at(3), at(2), at(1))
	want("some", 2, at(3), at(2))
	if err := s.PruneAttempts(t.Context(), at(2).At); err != nil {
		t.Fatal(err)
	}
	want("pruned", 5, at(3), at(2))
	auditAtOnce(t, s)
}

// latest reads the last n attempts at an account, and no more.
func latest(t *testing.T, s account.AdminStore, userID string, n int) ([]account.Attempt, error) {
	t.Helper()
	var all []account.Attempt
	for a, err := range s.AttemptsOf(t.Context(), userID) {
		if err != nil {
			return nil, err
		}
		if all = append(all, a); len(all) == n {
			break
		}
	}
	return all, nil
}

// auditAtOnce has many attempts recorded at once: each is stored when it is
// answered, and once.
func auditAtOnce(t *testing.T, s AuditStore) {
	t.Helper()
	const each = 8
	at := time.Date(2026, 11, 22, 2, 0, 0, 0, time.UTC)
	attempt := func(i int) account.Attempt {
		return account.Attempt{
			UserID: "carol", At: at.Add(time.Duration(i) * time.Millisecond),
			Outcome: account.OutcomeSuccess, IP: fmt.Sprintf("192.0.2.%d", i), RequestID: fmt.Sprint("request ", i),
		}
	}
	errs := together(func(caller int) error {
		for i := caller * each; i < (caller+1)*each; i++ {
			if err := s.RecordAttempt(t.Context(), attempt(i)); err != nil {
				return err
			}
			all, err := latest(t, s, "carol", callers*each)
			if err != nil {
				return err
			}
			if !slices.Contains(all, attempt(i)) {
				return fmt.Errorf("attempt %d is answered and not found", i)
			}
		}
		return nil
	})
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	all, err := latest(t, s, "carol", 2*callers*each)
	if err != nil || len(all) != callers*each {
		t.Fatalf("%d attempts of %d found (%v)", len(all), callers*each, err)
	}
	for i, got := range all {
		if want := attempt(len(all) - 1 - i); got != want {
			t.Errorf("attempt %d from the end is %+v, want %+v", i, got, want)
		}
	}
}

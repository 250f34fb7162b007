package storetest

import (
	"context"
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
		got, err := s.LatestAttempts(t.Context(), "alice", n)
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
}

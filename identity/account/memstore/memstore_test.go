package memstore_test

import (
	"testing"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/account/memstore"
	"github.com/earlybird/earlybird/identity/account/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) account.Store { return memstore.New() })
}

func TestAttempts(t *testing.T) {
	s := memstore.New()
	want := account.Attempt{UserID: "u", Outcome: account.OutcomeSuccess, IP: "192.0.2.1", RequestID: "r"}
	if err := s.RecordAttempt(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if got := s.Attempts(); len(got) != 1 || got[0] != want {
		t.Errorf("attempts = %+v, want %+v", got, want)
	}
}

func TestAudit(t *testing.T) { storetest.RunAudit(t, memstore.New()) }

func TestAdminStore(t *testing.T) {
	storetest.RunAdmin(t, func(*testing.T) account.AdminStore { return memstore.New() })
}

package mongostore

import (
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/oldcampaign/ledgertest"
)

func TestLedger(t *testing.T) {
	ledgertest.Run(t, func(t *testing.T) campaign.Ledger { return open(t, Config{}) })
}

func TestSuccessfulLogins(t *testing.T) {
	s := open(t, Config{})
	now := time.Now().UTC().Truncate(time.Millisecond)
	for _, a := range []account.Attempt{
		{UserID: "early", At: now.Add(-time.Second), Outcome: account.OutcomeSuccess},
		{UserID: "wrong", At: now.Add(-time.Second), Outcome: account.OutcomeWrongPassword},
		{UserID: "late", At: now, Outcome: account.OutcomeSuccess},
	} {
		if err := s.RecordAttempt(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	var users []string
	for l, err := range s.SuccessfulLogins(t.Context(), now) {
		if err != nil {
			t.Fatal(err)
		}
		users = append(users, l.UserID)
	}
	if len(users) != 1 || users[0] != "early" {
		t.Errorf("logins of %v, want of early alone", users)
	}
}

func TestUsernames(t *testing.T) {
	s := open(t, Config{})
	for _, name := range []string{"Ann", "Bob"} {
		c := account.Credential{Canonical: name, UserID: "id of " + name}
		if err := s.CreateUser(t.Context(), account.User{ID: c.UserID, Username: name, Canonical: name}, c); err != nil {
			t.Fatal(err)
		}
	}
	names, err := s.Usernames(t.Context(), []string{"id of Bob", "nobody", "id of Ann"})
	if err != nil || len(names) != 2 || names["id of Ann"] != "Ann" || names["id of Bob"] != "Bob" {
		t.Errorf("names %v, %v", names, err)
	}
}

package mongostore

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/account/enrolment"
	"github.com/earlybird/earlybird/identity/account/storetest"
	"github.com/earlybird/earlybird/identity/unavailable"
)

func TestEnrolments(t *testing.T) {
	storetest.RunEnrolment(t, func(t *testing.T) enrolment.Store { return open(t, Config{}) })
}

// TestEnrolmentAnswerLost loses the answer to each insert of a code and of a
// registration: it is asked for again, and taken for what it is.
func TestEnrolmentAnswerLost(t *testing.T) {
	for _, words := range [][]string{
		{"insert", "enrolments", "expires"}, {"insert", "enrolments", "C-1:1"}, {"insert", "customers"}, {"insert", "users"}, {"insert", "credentials"},
	} {
		t.Run(words[len(words)-1], func(t *testing.T) {
			url := testserver.Mongo(t)
			proxy, through := testserver.NewProxy(t, url)
			s := open(t, Config{URL: with(t, through, "retryWrites=false")})
			lost := proxy.LoseAnswer(words...)
			admin := enrolment.NewAdmin(enrolment.AdminConfig{Store: s, By: "carol"})
			issued, err := admin.Issue(t.Context(), []string{"C-1"}, time.Now().Add(time.Hour), false)
			if err != nil || issued[0].Code == "" {
				t.Fatalf("issue: %+v, %v", issued, err)
			}
			registry := enrolment.NewRegistry(s, nil)
			admitted, err := registry.Admit(t.Context(), issued[0].Code.String())
			if err != nil || admitted.Customer != "C-1" {
				t.Fatalf("admit: %+v, %v", admitted, err)
			}
			u := account.User{ID: "ALICE", Username: "alice", Canonical: "alice", Customer: "C-1", CreatedAt: issuedAt}
			if err := registry.Create(t.Context(), u, account.Credential{Canonical: "alice", UserID: "ALICE", Password: "p"}); err != nil {
				t.Fatalf("create: %v", err)
			}
			select {
			case <-lost:
			default:
				t.Error("no answer was lost")
			}
			if found, err := admin.Show(t.Context(), "C-1"); err != nil || found.User != u || found.Claim.Pending != nil {
				t.Errorf("customer = %+v, %v", found, err)
			}
			if _, err := registry.Admit(t.Context(), issued[0].Code.String()); !errors.Is(err, account.ErrCode) {
				t.Errorf("the used code: %v", err)
			}
		})
	}
}

var issuedAt = time.Date(2026, 11, 22, 9, 8, 7, 654_000_000, time.UTC)

// An outage is told as one, whichever the method.
func TestEnrolmentOutage(t *testing.T) {
	proxy, through := testserver.NewProxy(t, testserver.Mongo(t))
	s := open(t, Config{URL: with(t, through, "serverSelectionTimeoutMS=100")})
	proxy.SetDown(true)
	ctx := t.Context()
	for name, call := range map[string]func(context.Context) error{
		"AddIssues": func(ctx context.Context) error {
			_, err := s.AddIssues(ctx, []enrolment.Issue{{Customer: "C-1", Number: 1, Hash: "h", At: issuedAt, Expires: issuedAt}})
			return err
		},
		"Issue":       func(ctx context.Context) error { _, err := s.Issue(ctx, "C-1", 1); return err },
		"Code":        func(ctx context.Context) error { _, err := s.Code(ctx, "h"); return err },
		"AddClaim":    func(ctx context.Context) error { return s.AddClaim(ctx, enrolment.Claim{Customer: "C-1", UserID: "u"}) },
		"Claim":       func(ctx context.Context) error { _, err := s.Claim(ctx, "C-1"); return err },
		"SettleClaim": func(ctx context.Context) error { return s.SettleClaim(ctx, "C-1", "u") },
		"RemoveClaim": func(ctx context.Context) error { return s.RemoveClaim(ctx, "C-1", "u") },
	} {
		if err := call(ctx); !unavailable.Is(err) {
			t.Errorf("%s: %v, want an *unavailable.Error", name, err)
		}
	}
}

package enrolment_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/account/enrolment"
	"github.com/earlybird/earlybird/identity/account/memstore"
)

// want checks how a customer stands.
func (f *fixture) want(t *testing.T, customer string, want enrolment.Status) enrolment.Customer {
	t.Helper()
	got, err := f.admin.Show(t.Context(), customer)
	if err != nil || got.Status != want {
		t.Errorf("customer %s is %q, %v; want %q", customer, got.Status, err, want)
	}
	return got
}

// TestLife follows one customer from the first code to the second account.
func TestLife(t *testing.T) {
	f := newFixture(t)
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, enrolment.ErrRefused) {
			t.Errorf("%s: %v, want ErrRefused", what, err)
		}
	}
	revoke := func() error { _, err := f.admin.Revoke(t.Context(), "C-1"); return err }
	release := func() error { _, err := f.admin.Release(t.Context(), "C-1"); return err }

	f.want(t, "C-1", enrolment.StatusNone)
	refused("revoke without a code", revoke())
	refused("release without an account", release())

	f.issue(t, "C-1")
	if got := f.want(t, "C-1", enrolment.StatusLive); got.Issue.By != "carol" || !got.Issue.Expires.Equal(now.Add(time.Hour)) {
		t.Errorf("issue = %+v", got.Issue)
	}
	f.now = now.Add(time.Hour)
	f.want(t, "C-1", enrolment.StatusExpired)
	refused("revoke an expired code", revoke())

	second := f.issue(t, "C-1")
	if err := revoke(); err != nil {
		t.Fatal(err)
	}
	f.want(t, "C-1", enrolment.StatusRevoked)
	refused("revoke twice", revoke())
	if _, err := f.register(t, "alice", second); !errors.Is(err, account.ErrCode) {
		t.Errorf("register with a revoked code: %v", err)
	}

	third := f.issue(t, "C-1")
	u, err := f.register(t, "alice", third)
	if err != nil {
		t.Fatal(err)
	}
	if got := f.want(t, "C-1", enrolment.StatusEnrolled); got.User != u || !got.Claim.At.Equal(u.CreatedAt) {
		t.Errorf("customer = %+v, want the account %+v", got, u)
	}
	refused("revoke a used code", revoke())
	refused("release who has an account", release())

	f.store.RemoveAccount(u.ID)
	f.want(t, "C-1", enrolment.StatusDeleted)
	refused("revoke after the account was deleted", revoke())
	if err := release(); err != nil {
		t.Fatal(err)
	}
	f.want(t, "C-1", enrolment.StatusRevoked)
	if _, err := f.register(t, "alice", third); !errors.Is(err, account.ErrCode) {
		t.Errorf("register again with the used code: %v", err)
	}
	fourth := f.issue(t, "C-1")
	if _, err := f.register(t, "alice", fourth); err != nil {
		t.Errorf("register after the release: %v", err)
	}
	f.want(t, "C-1", enrolment.StatusEnrolled)
}

// Who has an account or a live code is skipped; reissue ends the live code, and
// nothing else.
func TestIssueSkips(t *testing.T) {
	f := newFixture(t)
	live := f.issue(t, "live")
	enrolled, deleted := f.issue(t, "enrolled"), f.issue(t, "deleted")
	if _, err := f.register(t, "alice", enrolled); err != nil {
		t.Fatal(err)
	}
	u, err := f.register(t, "bob", deleted)
	if err != nil {
		t.Fatal(err)
	}
	f.store.RemoveAccount(u.ID)
	f.issue(t, "revoked")
	if _, err := f.admin.Revoke(t.Context(), "revoked"); err != nil {
		t.Fatal(err)
	}
	customers := []string{"new", "live", "enrolled", "deleted", "revoked"}
	for _, reissue := range []bool{false, true} {
		issued, err := f.admin.Issue(t.Context(), customers, now.Add(time.Hour), reissue)
		if err != nil {
			t.Fatal(err)
		}
		var skipped []enrolment.Status
		for i, one := range issued {
			if one.Customer != customers[i] || (one.Code == "") != (one.Skipped != "") {
				t.Errorf("%d: %+v", i, one)
			}
			skipped = append(skipped, one.Skipped)
		}
		want := []enrolment.Status{"", enrolment.StatusLive, enrolment.StatusEnrolled, enrolment.StatusDeleted, ""}
		if reissue {
			want = []enrolment.Status{"", "", enrolment.StatusEnrolled, enrolment.StatusDeleted, ""}
		}
		if !slices.Equal(skipped, want) {
			t.Errorf("reissue %t: skipped %q, want %q", reissue, skipped, want)
		}
		if got := f.want(t, "live", enrolment.StatusLive).Issue.Hash == live.Hash(); got == reissue {
			t.Errorf("reissue %t: the code from before is live: %t", reissue, got)
		}
	}
	if _, err := f.register(t, "carol", live); !errors.Is(err, account.ErrCode) {
		t.Errorf("the code from before the reissue: %v, want ErrCode", err)
	}
}

// meeting is a store at which two who issue wait for each other.
type meeting struct {
	*memstore.Store
	met sync.WaitGroup
}

func (s *meeting) AddIssues(ctx context.Context, issues []enrolment.Issue) ([]int, error) {
	s.met.Done()
	s.met.Wait()
	return s.Store.AddIssues(ctx, issues)
}

// Of two operators who issue at once one issues; the other's code is not told.
func TestIssuedMeanwhile(t *testing.T) {
	store := &meeting{Store: memstore.New()}
	store.met.Add(2)
	admin := enrolment.NewAdmin(enrolment.AdminConfig{Store: store, By: "carol", Now: func() time.Time { return now }})
	issued := make(chan enrolment.Issued, 2)
	for range 2 {
		go func() {
			all, err := admin.Issue(t.Context(), []string{"C-1"}, now.Add(time.Hour), false)
			if err != nil {
				t.Error(err)
			}
			issued <- all[0]
		}()
	}
	a, b := <-issued, <-issued
	if a.Code == "" {
		a, b = b, a
	}
	if a.Code == "" || b != (enrolment.Issued{Customer: "C-1", Skipped: enrolment.StatusNone}) {
		t.Errorf("issued %+v and %+v, want one code and one who is skipped", a, b)
	}
	if got, err := store.Issue(t.Context(), "C-1", 1); err != nil || got.Hash != a.Code.Hash() {
		t.Errorf("the code that was told is not the one that works: %v", err)
	}
}

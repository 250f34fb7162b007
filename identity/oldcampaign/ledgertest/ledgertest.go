// Package ledgertest is the suite that every campaign.Ledger passes, and the
// ledger in memory that tests use.
package ledgertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/oldcampaign"
)

// Run tests a ledger; newLedger returns an empty one.
func Run(t *testing.T, newLedger func(t *testing.T) campaign.Ledger) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, l campaign.Ledger)
	}{
		{"history", testHistory},
		{"one of many versions wins", testVersionConflict},
		{"grants", testGrants},
		{"grants stored again", testGrantsAgain},
		{"conflicts", testConflicts},
		{"concurrent double ranks", testConcurrentRanks},
		{"waiting", testWaiting},
		{"expectations", testExpectations},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, newLedger(t)) })
	}
}

var at = time.Date(2026, 11, 22, 10, 0, 0, 123_000_000, time.UTC)

func version(id string, n int64) campaign.Campaign {
	return campaign.Campaign{
		ID: id, Version: n, Name: "Früh", Description: "words", Discount: 30, Slots: 100, Waitlist: 10_000,
		Status: campaign.Active, EndsAt: at.Add(time.Hour), ChangedAt: at, ChangedBy: "admin",
	}
}

func testHistory(t *testing.T, l campaign.Ledger) {
	ctx := t.Context()
	if _, err := l.Newest(ctx); !errors.Is(err, campaign.ErrNoCampaign) {
		t.Fatalf("newest of nothing: %v, want ErrNoCampaign", err)
	}
	// Ten comes after nine, which strings say otherwise.
	for _, c := range []campaign.Campaign{version("9", 1), version("9", 9), version("9", 10), version("10", 1), version("10", 2)} {
		if err := l.AddVersion(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		id   string
		want campaign.Campaign
	}{{"9", version("9", 10)}, {"10", version("10", 2)}} {
		got, err := l.Campaign(ctx, c.id)
		if err != nil || got != c.want {
			t.Errorf("campaign %s: %+v, %v, want %+v", c.id, got, err, c.want)
		}
	}
	if got, err := l.Newest(ctx); err != nil || got != version("10", 2) {
		t.Errorf("newest: %+v, %v", got, err)
	}
	for _, id := range []string{"11", "", "x"} {
		if _, err := l.Campaign(ctx, id); !errors.Is(err, campaign.ErrNoCampaign) {
			t.Errorf("campaign %q: %v, want ErrNoCampaign", id, err)
		}
	}
}

func testVersionConflict(t *testing.T, l campaign.Ledger) {
	const admins = 8
	errs := make([]error, admins)
	var wg sync.WaitGroup
	for i := range admins {
		wg.Go(func() {
			c := version("1", 1)
			c.ChangedBy = fmt.Sprint(i)
			errs[i] = l.AddVersion(t.Context(), c)
		})
	}
	wg.Wait()
	winner := slices.Index(errs, nil)
	if winner < 0 {
		t.Fatalf("nobody won: %v", errs)
	}
	for i, err := range errs {
		if i != winner && !errors.Is(err, campaign.ErrConflict) {
			t.Errorf("admin %d: %v, want ErrConflict", i, err)
		}
	}
	if c, err := l.Newest(t.Context()); err != nil || c.ChangedBy != fmt.Sprint(winner) {
		t.Errorf("stored is %q of admin %d's, %v", c.ChangedBy, winner, err)
	}
}

func grant(c, user string, rank int64) campaign.Grant {
	return campaign.Grant{CampaignID: c, UserID: user, Rank: rank, GrantedAt: at.Add(time.Duration(rank) * time.Second)}
}

func add(t *testing.T, l campaign.Ledger, grants ...campaign.Grant) []campaign.Conflict {
	t.Helper()
	conflicts, err := l.AddGrants(t.Context(), grants)
	if err != nil {
		t.Fatal(err)
	}
	return conflicts
}

func testGrants(t *testing.T, l campaign.Ledger) {
	ctx := t.Context()
	var want []campaign.Grant
	for i := range int64(12) {
		want = append(want, grant("1", fmt.Sprint("user", i), i+1))
	}
	shuffled := slices.Clone(want)
	slices.Reverse(shuffled)
	add(t, l, shuffled...)
	add(t, l, grant("2", "user3", 1))
	if got := collect(t, l, "1"); !slices.Equal(got, want) {
		t.Errorf("grants %+v, want %+v", got, want)
	}
	if got, err := l.Grant(ctx, "2", "user3"); err != nil || got != grant("2", "user3", 1) {
		t.Errorf("grant of user3: %+v, %v", got, err)
	}
	if _, err := l.Grant(ctx, "2", "user4"); !errors.Is(err, campaign.ErrNoGrant) {
		t.Errorf("grant of user4: %v, want ErrNoGrant", err)
	}
	if ok, err := l.Arrived(ctx, "1", "user0"); !ok || err != nil {
		t.Errorf("user0 arrived: %t, %v", ok, err)
	}
	if ok, err := l.Arrived(ctx, "2", "user0"); ok || err != nil {
		t.Errorf("user0 arrived in campaign 2: %t, %v", ok, err)
	}
}

func collect(t *testing.T, l campaign.Ledger, id string) []campaign.Grant {
	t.Helper()
	var all []campaign.Grant
	for g, err := range l.Grants(t.Context(), id) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, g)
	}
	return all
}

func testGrantsAgain(t *testing.T, l campaign.Ledger) {
	first, second := grant("1", "a", 1), grant("1", "b", 2)
	add(t, l, first)
	later := first
	later.GrantedAt = at.Add(time.Hour)
	if conflicts := add(t, l, later, second, second); len(conflicts) > 0 {
		t.Errorf("storing again is a conflict: %+v", conflicts)
	}
	if got := collect(t, l, "1"); !slices.Equal(got, []campaign.Grant{first, second}) {
		t.Errorf("grants %+v", got)
	}
}

func testConflicts(t *testing.T, l campaign.Ledger) {
	add(t, l, grant("1", "a", 1), grant("1", "b", 2))
	batch := []campaign.Grant{grant("1", "c", 1), grant("1", "a", 3), grant("1", "d", 4)}
	for range 2 { // a drain may repeat it
		conflicts := add(t, l, batch...)
		if len(conflicts) != 2 {
			t.Fatalf("conflicts %+v, want c at 1 and a at 3", conflicts)
		}
	}
	stored, err := l.Conflicts(t.Context(), "1")
	if err != nil || len(stored) != 2 {
		t.Fatalf("recorded %+v, %v, want two", stored, err)
	}
	for i := range stored {
		stored[i].FoundAt = time.Time{}
	}
	for _, want := range []campaign.Conflict{
		{CampaignID: "1", UserID: "c", Rank: 1, Holder: "a"},
		{CampaignID: "1", UserID: "a", Rank: 3, Holder: "a"},
	} {
		if !slices.Contains(stored, want) {
			t.Errorf("recorded %+v, without %+v", stored, want)
		}
	}
	if _, err := l.Grant(t.Context(), "1", "d"); err != nil {
		t.Errorf("a conflict kept the next grant from being stored: %v", err)
	}
	if other, err := l.Conflicts(t.Context(), "2"); err != nil || len(other) > 0 {
		t.Errorf("conflicts of another campaign: %+v, %v", other, err)
	}
}

func testConcurrentRanks(t *testing.T, l campaign.Ledger) {
	const users = 8
	var wg sync.WaitGroup
	for i := range users {
		wg.Go(func() {
			if _, err := l.AddGrants(context.WithoutCancel(t.Context()), []campaign.Grant{grant("1", fmt.Sprint(i), 1)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := collect(t, l, "1"); len(got) != 1 {
		t.Errorf("%d users hold rank 1", len(got))
	}
	if got, err := l.Conflicts(t.Context(), "1"); err != nil || len(got) != users-1 {
		t.Errorf("%d conflicts recorded, %v, want %d", len(got), err, users-1)
	}
}

func testWaiting(t *testing.T, l campaign.Ledger) {
	want := []campaign.Waiting{
		{CampaignID: "1", UserID: "a", Position: 9, At: at},
		{CampaignID: "1", UserID: "b", Position: 10, At: at.Add(time.Second)},
	}
	for range 2 {
		if err := l.AddWaiting(t.Context(), []campaign.Waiting{want[1], want[0]}); err != nil {
			t.Fatal(err)
		}
	}
	var got []campaign.Waiting
	for w, err := range l.Waiting(t.Context(), "1") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, w)
	}
	if !slices.Equal(got, want) {
		t.Errorf("waiting %+v, want %+v", got, want)
	}
	if ok, err := l.Arrived(t.Context(), "1", "a"); !ok || err != nil {
		t.Errorf("a arrived: %t, %v", ok, err)
	}
}

func testExpectations(t *testing.T, l campaign.Ledger) {
	ctx := t.Context()
	e := func(user string, offset time.Duration) campaign.Expected {
		return campaign.Expected{CampaignID: "1", UserID: user, At: at.Add(offset)}
	}
	for _, x := range []campaign.Expected{e("c", 2), e("b", time.Second), e("a", time.Second), e("d", time.Minute)} {
		x.At = x.At.Truncate(time.Millisecond)
		if err := l.Expect(ctx, x); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Expect(ctx, e("a", -time.Hour)); err != nil { // the first stays
		t.Fatal(err)
	}
	expectOrder(t, l, at.Add(time.Minute), 10, "c", "a", "b")
	expectOrder(t, l, at.Add(time.Hour), 2, "c", "a")
	if err := l.Unexpect(ctx, []campaign.Expected{e("c", 0), e("nobody", 0), e("b", 0)}); err != nil {
		t.Fatal(err)
	}
	expectOrder(t, l, at.Add(time.Hour), 10, "a", "d")
}

func expectOrder(t *testing.T, l campaign.Ledger, before time.Time, limit int, want ...string) {
	t.Helper()
	found, err := l.Expected(t.Context(), before, limit)
	if err != nil {
		t.Fatal(err)
	}
	var users []string
	for _, e := range found {
		users = append(users, e.UserID)
	}
	if !slices.Equal(users, want) {
		t.Errorf("expected before %s, at most %d: %v, want %v", before.Format(time.TimeOnly), limit, users, want)
	}
}

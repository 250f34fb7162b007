package campaign_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/oldcampaign/ledgertest"
)

func TestStartRefuses(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		now := time.Now()
		for _, c := range []struct {
			name  string
			edit  func(*campaign.StartRequest)
			field string
		}{
			{"no name", func(r *campaign.StartRequest) { r.Name = "" }, "name"},
			{"blank name", func(r *campaign.StartRequest) { r.Name = " \u00a0" }, "name"},
			{"long name", func(r *campaign.StartRequest) { r.Name = strings.Repeat("ä", 101) }, "name"},
			{"control character", func(r *campaign.StartRequest) { r.Name = "a\x1b[2J" }, "name"},
			{"not UTF-8", func(r *campaign.StartRequest) { r.Description = "\xff" }, "description"},
			{"long description", func(r *campaign.StartRequest) { r.Description = strings.Repeat("x", 1001) }, "description"},
			{"discount below", func(r *campaign.StartRequest) { r.Discount = -1 }, "discount"},
			{"discount above", func(r *campaign.StartRequest) { r.Discount = 101 }, "discount"},
			{"no slots", func(r *campaign.StartRequest) { r.Slots = 0 }, "slots"},
			{"too many slots", func(r *campaign.StartRequest) { r.Slots = campaign.MaxSlots + 1 }, "slots"},
			{"waitlist below", func(r *campaign.StartRequest) { r.Waitlist = -1 }, "waitlist"},
			{"ends before it starts", func(r *campaign.StartRequest) {
				r.StartsAt, r.EndsAt = now.Add(2*time.Hour), now.Add(time.Hour)
			}, "ends"},
			{"ended already", func(r *campaign.StartRequest) { r.EndsAt = now.Add(-time.Hour) }, "ends"},
		} {
			r := campaign.StartRequest{Name: "n", Discount: 30, Slots: 1, Waitlist: 0}
			c.edit(&r)
			_, err := b.admin.Start(t.Context(), r)
			refused(t, c.name, err, c.field)
		}
		if _, err := b.ledger.Newest(t.Context()); !errors.Is(err, campaign.ErrNoCampaign) {
			t.Errorf("newest %v: a refused start has stored something", err)
		}
	})
}

func refused(t *testing.T, name string, err error, field string) {
	t.Helper()
	var invalid *campaign.InvalidError
	if !errors.As(err, &invalid) || invalid.Field != field || invalid.Reason == "" {
		t.Errorf("%s: error %v, want one that names %s", name, err, field)
	}
}

func TestChangesAreRefused(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		if _, err := b.admin.Extend(ctx, 5); !errors.Is(err, campaign.ErrNoCampaign) {
			t.Errorf("extend without a campaign: %v", err)
		}
		b.start(t, 10, 0)
		change := func(f func(context.Context) (campaign.Change, error)) error { _, err := f(ctx); return err }
		extend := func(n int64) error { _, err := b.admin.Extend(ctx, n); return err }
		refused(t, "fewer slots", extend(9), "slots")
		refused(t, "as many slots", extend(10), "slots")
		refused(t, "too many slots", extend(campaign.MaxSlots+1), "slots")
		refused(t, "resume what is not paused", change(b.admin.Resume), "status")
		_, err := b.admin.Start(ctx, campaign.StartRequest{Name: "second", Slots: 1})
		refused(t, "a second campaign", err, "campaign")
		must(t)(b.admin.Pause(ctx))
		refused(t, "pause what is paused", change(b.admin.Pause), "status")
		must(t)(b.admin.End(ctx))
		for name, f := range map[string]func(context.Context) (campaign.Change, error){
			"end again": b.admin.End, "pause the ended": b.admin.Pause, "resume the ended": b.admin.Resume,
		} {
			refused(t, name, change(f), "status")
		}
		refused(t, "extend the ended", extend(11), "status")
	})
}

func TestTwoAdminsAtOnce(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		const admins = 6
		errs := make([]error, admins)
		var wg sync.WaitGroup
		for i := range admins {
			wg.Go(func() {
				_, errs[i] = b.admin.Start(t.Context(), campaign.StartRequest{Name: fmt.Sprint("by ", i), Slots: 1, Discount: int64(i)})
			})
		}
		wg.Wait()
		won := -1
		for i, err := range errs {
			var invalid *campaign.InvalidError
			switch {
			case err == nil && won >= 0:
				t.Errorf("both %d and %d started a campaign", won, i)
			case err == nil:
				won = i
			case !errors.Is(err, campaign.ErrConflict) && !errors.As(err, &invalid):
				t.Errorf("admin %d: %v", i, err)
			}
		}
		s, err := b.board.Snapshot(t.Context())
		if err != nil || won < 0 || s.Campaign.Discount != int64(won) {
			t.Errorf("redis has %+v, %v, want that of admin %d", s.Campaign, err, won)
		}
	})
}

// A crash between MongoDB and Redis: the next look repairs it.
func TestChangeThatRedisDidNotHear(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.start(t, 1, 5)
		b.expect(t, "a", granted("1", 1))
		b.expect(t, "b", state(campaign.StateFull))
		alone := campaign.NewAdmin(campaign.AdminConfig{
			Ledger: b.ledger, Board: campaign.NewBoard(connect(t, "redis://127.0.0.1:1")), By: "test",
		})
		change, err := alone.Extend(t.Context(), 2)
		if err != nil || change.Live {
			t.Fatalf("change %+v, %v, want one that redis does not follow yet", change, err)
		}
		b.expect(t, "b", state(campaign.StateFull))
		b.repair(t)
		b.expect(t, "b", granted("1", 2))
		b.drain(t)
		b.ledgerIs(t, "1", map[string]int64{"a": 1, "b": 2})
	})
}

// A campaign starts and ends by the clock of Redis, whatever the admin's says.
// Checked by looking at the admin's: a second campaign takes the place of the
// first, slots are raised after the end, the winners lose their discount before
// the next start, and a campaign that was ended before its start seems to have
// begun.
func TestAdminsClockIsWrong(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		off := func(by time.Duration) *campaign.Admin {
			return campaign.NewAdmin(campaign.AdminConfig{
				Ledger: b.ledger, Board: b.board, By: "test", Now: func() time.Time { return time.Now().Add(by) },
			})
		}
		b.start(t, 1, 5, func(r *campaign.StartRequest) { r.EndsAt = time.Now().Add(30 * time.Minute) })
		_, err := off(time.Hour).Start(t.Context(), campaign.StartRequest{Name: "second", Slots: 1})
		refused(t, "start while another is active", err, "campaign")
		must(t)(b.admin.End(t.Context()))
		c := b.start(t, 1, 5, func(r *campaign.StartRequest) { r.EndsAt = time.Now().Add(time.Second) })
		eventually(t, "the campaign ends", func() bool {
			s, err := b.board.Snapshot(t.Context())
			return err == nil && !s.ServerTime.Before(c.EndsAt)
		})
		_, err = off(-time.Hour).Extend(t.Context(), 5)
		refused(t, "extend after the end", err, "status")
		next := time.Now().Add(30 * time.Minute)
		must(t)(off(time.Hour).Start(t.Context(), campaign.StartRequest{Name: "next", Slots: 1, StartsAt: next}))
		if s, err := b.board.Snapshot(t.Context()); err != nil || s.Campaign.ID != c.ID {
			t.Errorf("before the next start redis has campaign %q, %v, want %q", s.Campaign.ID, err, c.ID)
		}
		if p, err := off(time.Hour).Status(t.Context()); err != nil || p.Status != campaign.Scheduled || p.Restoring {
			t.Errorf("status %+v, %v, want scheduled", p, err)
		}
		ended, err := off(time.Hour).End(t.Context())
		if err != nil || !ended.Campaign.ChangedAt.Before(next) {
			t.Errorf("ended at %v, %v, want before the start at %v", ended.Campaign.ChangedAt, err, next)
		}
	})
}

// Data that was not compared with the ledger since the server started may lack
// arrivals, so raised slots grant nobody before it was. Checked by leaving out
// the comparison of run ids in apply.lua.
func TestApplyWaitsForTheRestore(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		b.start(t, 1, 5)
		b.claim(t, "a")
		b.claim(t, "b")
		b.redis.HSet(ctx, campaign.KeyCampaign, "run_id", "other")
		before := b.redis.XLen(ctx, campaign.KeyOutbox).Val()
		if change, err := b.admin.Extend(ctx, 2); err != nil || change.Live {
			t.Errorf("change %+v, %v, want one that redis does not follow yet", change, err)
		}
		if s, err := b.board.Snapshot(ctx); err != nil || s.Campaign.Slots != 1 || b.redis.XLen(ctx, campaign.KeyOutbox).Val() != before {
			t.Errorf("redis has %+v, %v, want it as before", s.Campaign, err)
		}
		b.repair(t)
		b.expect(t, "b", granted("1", 2))
	})
}

func TestApplyNeverGoesBack(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		first := b.start(t, 1, 5)
		must(t)(b.admin.Extend(t.Context(), 3))
		if err := b.board.Apply(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		if s, err := b.board.Snapshot(t.Context()); err != nil || s.Campaign.Slots != 3 || s.Campaign.Version != 2 {
			t.Errorf("redis has %+v, %v, want version 2", s.Campaign, err)
		}
	})
}

// read counts the grants that are read from a ledger.
type read struct {
	*ledgertest.Memory
	grants int
}

func (r *read) Grants(ctx context.Context, id string) iter.Seq2[campaign.Grant, error] {
	return func(yield func(campaign.Grant, error) bool) {
		for g, err := range r.Memory.Grants(ctx, id) {
			if r.grants++; !yield(g, err) {
				return
			}
		}
	}
}

// Any number of winners goes by in batches, each once and in order, and no more
// of them is held than a batch. Checked by reading all before the first is
// yielded, and by not emptying a batch.
func TestWinnersAreStreamed(t *testing.T) {
	const winners = 1000
	ledger := &read{Memory: ledgertest.NewMemory()}
	if err := ledger.AddVersion(t.Context(), campaign.Campaign{ID: "1", Version: 1}); err != nil {
		t.Fatal(err)
	}
	users := names{}
	for rank := int64(1); rank <= winners; rank++ {
		user := fmt.Sprint("u", rank)
		users[user] = "name of " + user
		if _, err := ledger.AddGrants(t.Context(), []campaign.Grant{{CampaignID: "1", UserID: user, Rank: rank}}); err != nil {
			t.Fatal(err)
		}
	}
	next, held := int64(1), 0
	for w, err := range campaign.NewAdmin(campaign.AdminConfig{Ledger: ledger, Users: users}).Winners(t.Context(), "") {
		if err != nil || w.Rank != next || w.Username != "name of "+w.UserID {
			t.Fatalf("winner %d is %+v, %v", next, w, err)
		}
		held = max(held, ledger.grants-int(next))
		next++
	}
	if next != winners+1 || held >= winners/2 {
		t.Errorf("%d winners, up to %d held; want %d, and few held", next-1, held, winners)
	}
}

type names map[string]string

func (n names) Usernames(context.Context, []string) (map[string]string, error) { return n, nil }

func TestStatusAndWinners(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		admin := campaign.NewAdmin(campaign.AdminConfig{Ledger: b.ledger, Board: b.board, Users: names{"a": "Ann", "b": "Bob"}})
		if _, err := admin.Status(ctx); !errors.Is(err, campaign.ErrNoCampaign) {
			t.Errorf("status without a campaign: %v", err)
		}
		b.start(t, 3, 5)
		b.claim(t, "a")
		b.claim(t, "b")
		b.drain(t)
		counts := func() [3]int64 {
			t.Helper()
			p, err := admin.Status(ctx)
			if err != nil {
				t.Fatal(err)
			}
			return [3]int64{p.Granted, p.Remaining, p.Waiting}
		}
		if got := counts(); got != [3]int64{2, 1, 0} {
			t.Errorf("granted, remaining, waiting: %v, want 2 1 0", got)
		}
		for _, user := range []string{"c", "d", "e"} {
			b.claim(t, user)
		}
		if got := counts(); got != [3]int64{3, 0, 2} {
			t.Errorf("granted, remaining, waiting: %v, want 3 0 2", got)
		}
		b.drain(t)
		b.redis.FlushAll(ctx)
		if got := counts(); got != [3]int64{3, 0, 2} {
			t.Errorf("from the ledger: granted, remaining, waiting: %v, want 3 0 2", got)
		}
		var lines []string
		for w, err := range admin.Winners(ctx, "") {
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, fmt.Sprintf("%d %s %s", w.Rank, w.UserID, w.Username))
		}
		if got := strings.Join(lines, ", "); got != "1 a Ann, 2 b Bob, 3 c " {
			t.Errorf("winners %q", got)
		}
		for _, err := range admin.Winners(ctx, "7") {
			if !errors.Is(err, campaign.ErrNoCampaign) {
				t.Errorf("winners of an unknown campaign: %v", err)
			}
		}
	})
}

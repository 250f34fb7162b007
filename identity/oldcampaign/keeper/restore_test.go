package keeper_test

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/oldcampaign/keeper"
	"github.com/earlybird/earlybird/identity/oldcampaign/ledgertest"
)

// Rule 6: what Redis lost comes back from the ledger, the outbox and the
// expected logins. Checked by leaving out each of the sources in gather and
// complete: the case of its name fails.
func TestRestore(t *testing.T) {
	for _, c := range []struct {
		name string
		lose func(t *testing.T, b *bench)
	}{
		{"nothing lost", func(*testing.T, *bench) {}},
		{"ledger alone", func(t *testing.T, b *bench) { b.drain(t); b.redis.FlushAll(t.Context()) }},
		{"outbox alone", func(t *testing.T, b *bench) {
			b.forget(t)
			b.redis.Del(t.Context(), campaign.KeyCampaign, campaign.KeyArrivals)
		}},
		{"arrivals alone", func(t *testing.T, b *bench) {
			b.forget(t)
			b.redis.Del(t.Context(), campaign.KeyOutbox)
		}},
		{"expected alone", func(t *testing.T, b *bench) { b.redis.FlushAll(t.Context()) }},
		{"a hole", func(t *testing.T, b *bench) {
			b.redis.ZRem(t.Context(), campaign.KeyArrivals, "b")
			b.redis.Del(t.Context(), campaign.KeyOutbox)
		}},
		{"rolled back behind the ledger", func(t *testing.T, b *bench) {
			b.drain(t)
			b.redis.ZRem(t.Context(), campaign.KeyArrivals, "c", "d")
			b.redis.HSet(t.Context(), campaign.KeyCampaign, "last", 2)
			b.redis.Del(t.Context(), campaign.KeyOutbox)
		}},
		{"arrivals of another campaign", func(t *testing.T, b *bench) {
			b.drain(t)
			b.redis.FlushAll(t.Context())
			b.redis.HSet(t.Context(), campaign.KeyCampaign, "id", "0", "status", "active", "version", 1, "discount", 0, "slots", 9,
				"waitlist", 0, "starts_at", 0, "ends_at", 0, "changed_at", 0, "last", 1)
			b.claim(t, "z")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			each(t, func(t *testing.T, b *bench) {
				b.start(t, 3, 2)
				now := time.Now()
				for i, user := range []string{"a", "b", "c", "d"} {
					b.login(t, user, now.Add(time.Duration(i)*time.Millisecond))
					b.claim(t, user)
				}
				c.lose(t, b)
				if r := b.restore(t); !r.Opened || r.Last != 4 || r.Places != 4 || r.Displaced != 0 {
					t.Errorf("result %+v, want four places", r)
				}
				b.ranks(t, "a", "b", "c")
				if got := b.claim(t, "d"); got.State != campaign.StateFull {
					t.Errorf("d: %+v, want full", got)
				}
				if _, err := b.admin.Extend(t.Context(), 5); err != nil {
					t.Fatal(err)
				}
				b.ranks(t, "a", "b", "c", "d", "next")
				b.drain(t)
				if got := b.stored(t); !slices.Equal(got, []string{"a 1", "b 2", "c 3", "d 4", "next 5"}) {
					t.Errorf("ledger: %v", got)
				}
				if got := b.expected(t); len(got) > 0 {
					t.Errorf("still expected: %v", got)
				}
				if keys := b.redis.Keys(t.Context(), "*staging*").Val(); len(keys) > 0 {
					t.Errorf("left behind: %v", keys)
				}
			})
		})
	}
}

// forget drops what is expected, so that it cannot stand in for what is lost.
func (b *bench) forget(t *testing.T) {
	t.Helper()
	found, err := b.ledger.Expected(t.Context(), b.now().Add(time.Hour), 100)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.ledger.Unexpect(t.Context(), found); err != nil {
		t.Fatal(err)
	}
}

func TestRestoreWithoutACampaign(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.redis.FlushAll(t.Context())
		if got := b.claim(t, "a"); got.State != campaign.StatePending {
			t.Errorf("emptied: %+v, want pending", got)
		}
		b.repair(t)
		if got := b.claim(t, "a"); got.State != campaign.StateNone {
			t.Errorf("restored: %+v, want none", got)
		}
	})
}

// A raise that was decided while Redis was lost grants those who waited.
func TestRestoreAppliesRaisedSlots(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.start(t, 1, 5)
		b.claim(t, "a", "b", "c")
		b.drain(t)
		b.redis.FlushAll(t.Context())
		if change, err := b.admin.Extend(t.Context(), 2); err != nil || change.Live {
			t.Fatalf("%+v, %v", change, err)
		}
		b.repair(t)
		b.ranks(t, "a", "b")
		b.drain(t)
		if got := b.stored(t); !slices.Equal(got, []string{"a 1", "b 2"}) {
			t.Errorf("ledger: %v", got)
		}
	})
}

// A hole that nobody expected can fill keeps new logins pending until the next
// login fills it: ranks have no gaps.
func TestHoleIsFilledByTheNextLogin(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.start(t, 5, 5)
		b.claim(t, "a", "b", "c")
		b.redis.ZRem(t.Context(), campaign.KeyArrivals, "b")
		b.redis.Del(t.Context(), campaign.KeyOutbox)
		b.repair(t)
		b.restore(t)
		if got := b.claim(t, "d"); got.State != campaign.StatePending {
			t.Errorf("claim beside a hole: %+v, want pending", got)
		}
		b.login(t, "d", time.Now())
		b.repair(t)
		b.ranks(t, "a", "d", "c", "e")
	})
}

// The ledger wins over what Redis has, and whoever loses a place that way is
// seated behind the others.
func TestRestoreDisplaces(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.start(t, 3, 5)
		b.claim(t, "a")
		b.drain(t)
		b.redis.Del(t.Context(), campaign.KeyOutbox, campaign.KeyArrivals)
		b.redis.HSet(t.Context(), campaign.KeyCampaign, "last", 0)
		b.claim(t, "twin")
		if r := b.restore(t); r.Displaced != 1 {
			t.Errorf("result %+v, want one displaced", r)
		}
		b.ranks(t, "a", "twin")
	})
}

// A paused campaign gets its holes closed and no new places.
func TestRestorePaused(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.start(t, 5, 5)
		b.login(t, "a", time.Now())
		b.claim(t, "a")
		b.drain(t)
		b.login(t, "late", time.Now())
		if _, err := b.admin.Pause(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.redis.FlushAll(t.Context())
		if r := b.restore(t); r.Places != 1 {
			t.Errorf("result %+v, want one place", r)
		}
	})
}

// The ledger ahead of Redis is noticed while the same server runs. Checked by
// leaving out the comparison in lost: the next login has b's rank then.
func TestRepairNoticesWhatIsBehind(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.start(t, 5, 5)
		b.claim(t, "a", "b")
		b.drain(t)
		b.redis.ZRem(t.Context(), campaign.KeyArrivals, "b")
		b.redis.HSet(t.Context(), campaign.KeyCampaign, "last", 1)
		b.redis.Del(t.Context(), campaign.KeyOutbox)
		b.repair(t)
		b.claim(t, "c")
		b.ranks(t, "a", "b", "c")
	})
}

// So are more arrivals than positions, with which nobody gets a place. Checked by
// leaving out that case in lost.
func TestRepairNoticesACounterThatIsBehind(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.start(t, 5, 5)
		b.claim(t, "a", "b")
		b.redis.HSet(t.Context(), campaign.KeyCampaign, "last", 1)
		if got := b.claim(t, "c"); got.State != campaign.StatePending {
			t.Errorf("c: %+v, want pending", got)
		}
		b.repair(t)
		b.ranks(t, "a", "b", "c")
	})
}

// A slow restorer that wakes up after another has finished and claims have
// begun again changes nothing. Checked by dropping the token's comparison in
// open.lua.
func TestSlowRestorerChangesNothing(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		b.start(t, 5, 5)
		b.claim(t, "a")
		slow, err := b.board.Close(ctx, "slow", 0)
		if err != nil || slow == nil {
			t.Fatal(slow, err)
		}
		if other, err := b.board.Close(ctx, "polite", time.Minute); err != nil || other != nil {
			t.Errorf("a second restorer began beside the first: %v, %v", other, err)
		}
		c, err := b.ledger.Newest(ctx)
		if err != nil {
			t.Fatal(err)
		}
		b.restore(t)
		b.claim(t, "b")
		opened, err := slow.Open(ctx, campaign.Plan{Campaign: c})
		if err != nil || opened {
			t.Errorf("the slow restorer opened: %t, %v", opened, err)
		}
		b.ranks(t, "a", "b", "c")
	})
}

func TestManyRestorersAtOnce(t *testing.T) {
	b := newBench(t, testserver.Redis(t).URL())
	b.start(t, 50, 50)
	var users []string
	for i := range 60 {
		users = append(users, fmt.Sprint("user", i))
	}
	b.claim(t, users...)
	b.drain(t)
	for range 5 {
		b.redis.FlushAll(t.Context())
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				k := b.newKeeper(connect(t, b.url))
				if _, err := k.Restore(t.Context()); err != nil {
					t.Errorf("restorer %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		b.repair(t)
		b.ranks(t, users[:50]...)
	}
}

// Rules 1 to 4 and 6 together: claims go on while Redis is killed again and
// again with -9. No grant that was told is missing or changed afterwards, and
// every login that could not be told is made good. Checked by a Redis that
// writes nothing to its disk.
func TestKillRedisWhileClaiming(t *testing.T) {
	server := testserver.Redis(t)
	b := newBench(t, server.URL())
	b.start(t, 60, 1000)
	run(t, b.keeper)
	run(t, b.newKeeper(connect(t, b.url)))

	const users, workers, kills = 120, 6, 3
	var (
		mu   sync.Mutex
		told = map[string]int64{}
		wg   sync.WaitGroup
		jobs = make(chan string)
	)
	for range workers {
		client := connect(t, b.url)
		p := campaign.NewPromotions(campaign.PromotionsConfig{Ledger: b.ledger, Board: campaign.NewBoard(client)})
		claimer := campaign.NewClaimer(campaign.ClaimerConfig{Redis: client, Log: slog.New(slog.DiscardHandler)})
		wg.Go(func() {
			for user := range jobs {
				if err := p.Expect(t.Context(), user, time.Now()); err != nil {
					t.Error(err)
				}
				if out := claimer.Claim(t.Context(), user); out.State == campaign.StateGranted {
					mu.Lock()
					told[user] = out.Rank
					mu.Unlock()
				}
			}
		})
	}
	for i := range users {
		if i > 0 && i%(users/(kills+1)) == 0 {
			server.Kill()
			server.Start()
		}
		jobs <- fmt.Sprint("user", i)
	}
	close(jobs)
	wg.Wait()
	b.later(11 * time.Second)
	eventually(t, "all slots are granted and stored", func() bool { return len(b.stored(t)) == 60 })
	eventually(t, "nobody is expected any more", func() bool { return len(b.expected(t)) == 0 })
	for i, entry := range b.stored(t) {
		var user string
		var rank int64
		if _, err := fmt.Sscan(entry, &user, &rank); err != nil || rank != int64(i+1) {
			t.Errorf("grant %d is %q", i+1, entry)
		}
		if told[user] != 0 && told[user] != rank {
			t.Errorf("%s was told rank %d and has %d", user, told[user], rank)
		}
		delete(told, user)
	}
	if len(told) > 0 {
		t.Errorf("told of a grant that is missing: %v", told)
	}
	s, err := b.board.Snapshot(t.Context())
	if err != nil || s.Last != users || s.Arrivals != users {
		t.Errorf("%d arrivals, last %d, %v: want %d, every login made good", s.Arrivals, s.Last, err, users)
	}
	if conflicts, err := b.ledger.Conflicts(t.Context(), "1"); err != nil || len(conflicts) > 0 {
		t.Errorf("conflicts %+v, %v", conflicts, err)
	}
}

// slow is a ledger in which reading the grants waits for something.
type slow struct {
	*ledgertest.Memory
	wait func()
}

func (s *slow) Grants(ctx context.Context, id string) iter.Seq2[campaign.Grant, error] {
	s.wait()
	return s.Memory.Grants(ctx, id)
}

// A restore that takes longer than others are patient keeps the right to it.
// Checked by not holding it.
func TestLongRestoreIsNotTakenOver(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		b.start(t, 5, 5)
		b.claim(t, "a")
		long := keeper.New(keeper.Config{
			Redis: b.redis, Log: slog.New(slog.DiscardHandler), Patience: 100 * time.Millisecond,
			Ledger: &slow{b.ledger, func() {
				b.redis.HSet(ctx, campaign.KeyCampaign, "restorer_at", 1) // it began long ago
				eventually(t, "the right is renewed", func() bool {
					return b.redis.HGet(ctx, campaign.KeyCampaign, "restorer_at").Val() != "1"
				})
				if other, err := b.board.Close(ctx, "other", time.Minute); err != nil || other != nil {
					t.Errorf("another took over: %v, %v", other, err)
				}
			}},
		})
		if r, err := long.Restore(ctx); err != nil || !r.Opened {
			t.Errorf("%+v, %v, want it opened", r, err)
		}
		b.ranks(t, "a", "b")
	})
}

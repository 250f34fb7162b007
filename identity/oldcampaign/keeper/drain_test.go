package keeper_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/oldcampaign/keeper"
	"github.com/earlybird/earlybird/identity/oldcampaign/ledgertest"
	"github.com/earlybird/earlybird/identity/outage"
)

func TestDrainStoresEverything(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.start(t, 2, 5)
		now := time.Now().Truncate(time.Millisecond)
		for i, user := range []string{"a", "b", "c", "d"} {
			b.login(t, user, now.Add(time.Duration(i)*time.Millisecond))
		}
		b.claim(t, "a", "b", "c")
		b.drain(t)
		if got := b.stored(t); !slices.Equal(got, []string{"a 1", "b 2"}) {
			t.Errorf("grants %v", got)
		}
		var waits []string
		for w, err := range b.ledger.Waiting(t.Context(), "1") {
			if err != nil {
				t.Fatal(err)
			}
			waits = append(waits, w.UserID+strconv.FormatInt(w.Position, 10))
		}
		if !slices.Equal(waits, []string{"c3"}) {
			t.Errorf("waiting %v, want c at 3", waits)
		}
		if got := b.expected(t); !slices.Equal(got, []string{"d"}) {
			t.Errorf("expected %v, want d alone", got)
		}
		if _, err := b.admin.Extend(t.Context(), 4); err != nil {
			t.Fatal(err)
		}
		b.drain(t)
		if got := b.stored(t); !slices.Equal(got, []string{"a 1", "b 2", "c 3"}) {
			t.Errorf("grants after the raise %v", got)
		}
	})
}

// Claims go on while MongoDB is down, and drain when it is back. Checked by
// confirming entries before they are stored: the grants are then lost.
func TestDrainWhileLedgerIsDown(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.start(t, 3, 0)
		b.drain(t)
		b.ledger.Down(true)
		b.claim(t, "a", "b")
		for range 2 {
			if err := b.keeper.Drain(t.Context()); !outage.Is(err) {
				t.Fatalf("drain: %v, want an outage", err)
			}
		}
		b.claim(t, "c")
		b.ledger.Down(false)
		b.drain(t)
		if got := b.stored(t); !slices.Equal(got, []string{"a 1", "b 2", "c 3"}) {
			t.Errorf("grants %v", got)
		}
	})
}

// failing is a ledger that cannot do one thing.
type failing struct {
	*ledgertest.Memory
	what string
}

func (f *failing) fails(what string) error {
	if f.what == what {
		return outage.New("ledger", what, errors.New("down"))
	}
	return nil
}

func (f *failing) AddGrants(ctx context.Context, grants []campaign.Grant) ([]campaign.Conflict, error) {
	if err := f.fails("grants"); err != nil {
		return nil, err
	}
	return f.Memory.AddGrants(ctx, grants)
}

func (f *failing) AddWaiting(ctx context.Context, waiting []campaign.Waiting) error {
	if err := f.fails("waiting"); err != nil {
		return err
	}
	return f.Memory.AddWaiting(ctx, waiting)
}

func (f *failing) Unexpect(ctx context.Context, done []campaign.Expected) error {
	if err := f.fails("unexpect"); err != nil {
		return err
	}
	return f.Memory.Unexpect(ctx, done)
}

// A drain that breaks off at any step is done again: what is expected stays
// until all is stored, and what was stored does nothing the second time. Checked
// by dropping what is expected first, and by confirming the entries before it.
func TestDrainBreaksOff(t *testing.T) {
	for _, what := range []string{"grants", "waiting", "unexpect"} {
		t.Run(what, func(t *testing.T) {
			each(t, func(t *testing.T, b *bench) {
				b.start(t, 1, 5)
				b.drain(t)
				b.login(t, "a", time.Now())
				b.login(t, "w", time.Now().Add(time.Millisecond))
				b.claim(t, "a", "w")
				broken := keeper.New(keeper.Config{
					Ledger: &failing{b.ledger, what}, Redis: b.redis, Log: slog.New(slog.DiscardHandler),
				})
				if err := broken.Drain(t.Context()); !outage.Is(err) {
					t.Fatalf("drain: %v, want an outage", err)
				}
				if got := b.expected(t); !slices.Equal(got, []string{"a", "w"}) {
					t.Errorf("expected %v, want a and w until they are stored", got)
				}
				eventually(t, "another replica takes over", func() bool {
					if err := b.keeper.Tidy(t.Context()); err != nil {
						t.Fatal(err)
					}
					return len(b.expected(t)) == 0
				})
				b.drain(t)
				if got := b.stored(t); !slices.Equal(got, []string{"a 1"}) {
					t.Errorf("grants %v", got)
				}
				if conflicts, err := b.ledger.Conflicts(t.Context(), "1"); err != nil || len(conflicts) > 0 {
					t.Errorf("conflicts %v, %v", conflicts, err)
				}
			})
		})
	}
}

// What a dead replica was given is taken over. Checked by leaving out takeOver.
func TestDrainTakesOver(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.start(t, 3, 0)
		b.drain(t)
		b.claim(t, "a", "b")
		given, err := b.redis.XReadGroup(t.Context(), &redis.XReadGroupArgs{
			Group: "identity", Consumer: "dead", Streams: []string{campaign.KeyOutbox, ">"}, Count: 10,
		}).Result()
		if err != nil || len(given) != 1 || len(given[0].Messages) != 2 {
			t.Fatalf("the dead replica was given %v, %v", given, err)
		}
		b.claim(t, "c")
		run(t, b.keeper)
		eventually(t, "everything is stored", func() bool { return slices.Equal(b.stored(t), []string{"a 1", "b 2", "c 3"}) })
		eventually(t, "everything is confirmed", func() bool { return b.drained(t) })
	})
}

// A replica that ended is forgotten; one that still holds entries, or asked a
// moment ago, is not. Checked by leaving out forget, the comparison of what is
// pending (the entry of "holds" is then never stored) and that of the idle time.
func TestForgetsReplicasThatEnded(t *testing.T) {
	b := newBench(t, testserver.Redis(t).URL()) // miniredis does not tell who asked when
	b.start(t, 3, 0)
	b.drain(t)
	read := func(consumer string) {
		b.redis.XReadGroup(t.Context(), &redis.XReadGroupArgs{
			Group: "identity", Consumer: consumer, Streams: []string{campaign.KeyOutbox, ">"}, Count: 1, Block: -1,
		})
	}
	consumers := func() []string {
		var names []string
		for _, c := range b.redis.XInfoConsumers(t.Context(), campaign.KeyOutbox, "identity").Val() {
			names = append(names, c.Name)
		}
		slices.Sort(names)
		return names
	}
	tidy := func(forget time.Duration) {
		t.Helper()
		k := keeper.New(keeper.Config{
			Ledger: b.ledger, Redis: b.redis, Log: slog.New(slog.DiscardHandler), TakeOver: time.Hour, Forget: forget,
		})
		if err := k.Tidy(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	b.redis.XGroupCreateConsumer(t.Context(), campaign.KeyOutbox, "identity", "ended")
	b.claim(t, "a")
	read("holds")
	tidy(time.Minute)
	if got := consumers(); len(got) != 3 {
		t.Errorf("consumers %v, want the keeper's, ended and holds", got)
	}
	eventually(t, "only who holds an entry is left", func() bool {
		tidy(time.Millisecond)
		return slices.Equal(consumers(), []string{"holds"})
	})
	b.claim(t, "b")
	run(t, b.keeper)
	eventually(t, "everything is stored", func() bool { return slices.Equal(b.stored(t), []string{"a 1", "b 2"}) })
}

// A rank that was given twice is recorded, and the drain goes on. The metrics
// show it as long as the campaign is in force, also when the next one is planned.
func TestDrainRecordsConflicts(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.start(t, 3, 0)
		b.claim(t, "a")
		for _, values := range []map[string]any{
			{"type": "grant", "campaign": "1", "user": "twin", "rank": 1},
			{"type": "nonsense"},
			{"type": "grant", "campaign": "1", "user": "half"},
		} {
			if err := b.redis.XAdd(t.Context(), &redis.XAddArgs{Stream: campaign.KeyOutbox, Values: values}).Err(); err != nil {
				t.Fatal(err)
			}
		}
		b.claim(t, "b")
		b.drain(t)
		if got := b.stored(t); !slices.Equal(got, []string{"a 1", "b 2"}) {
			t.Errorf("grants %v", got)
		}
		conflicts, err := b.ledger.Conflicts(t.Context(), "1")
		if err != nil || len(conflicts) != 1 || conflicts[0].UserID != "twin" || conflicts[0].Holder != "a" {
			t.Errorf("conflicts %+v, %v, want that of twin", conflicts, err)
		}
		if _, err := b.admin.End(t.Context()); err != nil {
			t.Fatal(err)
		}
		next := campaign.StartRequest{Name: "next", Slots: 1, StartsAt: time.Now().Add(time.Hour)}
		if _, err := b.admin.Start(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		if backlog, err := b.keeper.Backlog(t.Context()); err != nil || backlog.Conflicts != 1 {
			t.Errorf("backlog %+v, %v, want one conflict", backlog, err)
		}
	})
}

// The outbox is trimmed behind what is stored and older than Keep, and no
// further. Checked by trimming without a look at what is pending.
func TestTrim(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		add := func(ms int64, user string, rank int) {
			t.Helper()
			if err := b.redis.XAdd(ctx, &redis.XAddArgs{Stream: campaign.KeyOutbox, ID: strconv.FormatInt(ms, 10) + "-1", Values: map[string]any{
				"type": "grant", "campaign": "1", "user": user, "rank": rank,
			}}).Err(); err != nil {
				t.Fatal(err)
			}
		}
		length := func() int64 { return b.redis.XLen(ctx, campaign.KeyOutbox).Val() }
		b.redis.Del(ctx, campaign.KeyOutbox)
		old := time.Now().Add(-10 * time.Minute).UnixMilli()
		add(old, "a", 1)
		b.drain(t)
		add(old+1, "b", 2)
		if err := b.keeper.Tidy(ctx); err != nil {
			t.Fatal(err)
		}
		if n := length(); n != 2 {
			t.Errorf("%d entries left, want the one not stored and the last that was", n)
		}
		add(old+2, "c", 3)
		b.ledger.Down(true)
		if err := b.keeper.Drain(ctx); !outage.Is(err) {
			t.Fatal(err)
		}
		b.ledger.Down(false)
		if err := b.keeper.Trim(ctx); err != nil {
			t.Fatal(err)
		}
		if n := length(); n != 2 {
			t.Errorf("%d entries left, want the two that are given out and not stored", n)
		}
		b.drain(t)
		add(time.Now().UnixMilli(), "d", 4)
		b.drain(t)
		if err := b.keeper.Trim(ctx); err != nil {
			t.Fatal(err)
		}
		if n := length(); n != 1 {
			t.Errorf("%d entries left, want the young one", n)
		}
		if got := b.stored(t); !slices.Equal(got, []string{"a 1", "b 2", "c 3", "d 4"}) {
			t.Errorf("grants %v", got)
		}
	})
}

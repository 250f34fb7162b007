package keeper_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/oldcampaign/keeper"
	"github.com/earlybird/earlybird/identity/oldcampaign/ledgertest"
	"github.com/earlybird/earlybird/identity/redisdb"
)

// bench is one Redis and one ledger in memory, with a clock that the test sets.
type bench struct {
	url    string
	redis  redis.UniversalClient
	board  *campaign.Board
	ledger *ledgertest.Memory
	keeper *keeper.Keeper
	admin  *campaign.Admin

	mu     sync.Mutex
	offset time.Duration
}

func newBench(t *testing.T, url string) *bench {
	t.Helper()
	b := &bench{url: url, redis: connect(t, url), ledger: ledgertest.NewMemory()}
	b.board = campaign.NewBoard(b.redis)
	b.keeper = b.newKeeper(b.redis)
	b.admin = campaign.NewAdmin(campaign.AdminConfig{Ledger: b.ledger, Board: b.board, By: "test"})
	b.repair(t)
	return b
}

func each(t *testing.T, test func(t *testing.T, b *bench)) {
	t.Run("miniredis", func(t *testing.T) { test(t, newBench(t, "redis://"+miniredis.RunT(t).Addr())) })
	t.Run("redis", func(t *testing.T) { test(t, newBench(t, testserver.Redis(t).URL())) })
}

func connect(t testing.TB, url string) redis.UniversalClient {
	t.Helper()
	client, err := redisdb.Connect(redisdb.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// newKeeper returns a replica's keeper that takes over at once.
func (b *bench) newKeeper(client redis.UniversalClient) *keeper.Keeper {
	return keeper.New(keeper.Config{
		Ledger: b.ledger, Redis: client, Log: slog.New(slog.DiscardHandler), Now: b.now,
		Claimer:  campaign.NewClaimer(campaign.ClaimerConfig{Redis: client, Timeout: 5 * time.Second}),
		TakeOver: time.Millisecond, Interval: 20 * time.Millisecond,
	})
}

func (b *bench) now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Now().Add(b.offset)
}

// later moves the keeper's clock.
func (b *bench) later(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.offset += d
}

func (b *bench) repair(t *testing.T) {
	t.Helper()
	if err := b.keeper.Repair(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) restore(t *testing.T) keeper.Result {
	t.Helper()
	r, err := b.keeper.Restore(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (b *bench) start(t *testing.T, slots, waitlist int64) {
	t.Helper()
	change, err := b.admin.Start(t.Context(), campaign.StartRequest{Name: "n", Discount: 30, Slots: slots, Waitlist: waitlist})
	if err != nil || !change.Live {
		t.Fatalf("start: %+v, %v", change, err)
	}
}

func (b *bench) claim(t *testing.T, users ...string) campaign.Outcome {
	t.Helper()
	claimer := campaign.NewClaimer(campaign.ClaimerConfig{Redis: b.redis, Timeout: 5 * time.Second})
	var out campaign.Outcome
	for _, user := range users {
		out = claimer.Claim(t.Context(), user)
	}
	return out
}

// login is what identity does before it answers; the claim may follow.
func (b *bench) login(t *testing.T, user string, at time.Time) {
	t.Helper()
	p := campaign.NewPromotions(campaign.PromotionsConfig{Ledger: b.ledger, Board: b.board, Timeout: 5 * time.Second})
	if err := p.Expect(t.Context(), user, at); err != nil {
		t.Fatal(err)
	}
}

// ranks fails the test unless these users have the ranks 1, 2, ...
func (b *bench) ranks(t *testing.T, users ...string) {
	t.Helper()
	for i, user := range users {
		want := campaign.Outcome{State: campaign.StateGranted, CampaignID: "1", Rank: int64(i + 1), Discount: 30}
		if got := b.claim(t, user); got != want {
			t.Errorf("%s: %+v, want rank %d", user, got, i+1)
		}
	}
}

func (b *bench) drain(t *testing.T) {
	t.Helper()
	eventually(t, "the outbox is drained", func() bool {
		if b.drained(t) {
			return true
		}
		if err := b.keeper.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		return b.drained(t)
	})
}

func (b *bench) drained(t *testing.T) bool {
	t.Helper()
	groups, err := b.redis.XInfoGroups(t.Context(), campaign.KeyOutbox).Result()
	if err != nil || len(groups) == 0 {
		return false
	}
	last, err := b.redis.XRevRangeN(t.Context(), campaign.KeyOutbox, "+", "-", 1).Result()
	if err != nil {
		t.Fatal(err)
	}
	return groups[0].Pending == 0 && (len(last) == 0 || last[0].ID == groups[0].LastDeliveredID)
}

// stored is the ledger's grants as "user rank" in order.
func (b *bench) stored(t *testing.T) []string {
	t.Helper()
	var all []string
	for g, err := range b.ledger.Grants(t.Context(), "1") {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%s %d", g.UserID, g.Rank))
	}
	return all
}

func (b *bench) expected(t *testing.T) []string {
	t.Helper()
	found, err := b.ledger.Expected(t.Context(), b.now().Add(time.Hour), 1000)
	if err != nil {
		t.Fatal(err)
	}
	var users []string
	for _, e := range found {
		users = append(users, e.UserID)
	}
	return users
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// run runs a keeper until stop is called or the test ends.
func run(t *testing.T, k *keeper.Keeper) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := k.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return stop
}

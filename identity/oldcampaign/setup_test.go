package campaign_test

import (
	"log/slog"
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

// bench is a campaign on one Redis, with a ledger in memory.
type bench struct {
	url    string
	redis  redis.UniversalClient
	board  *campaign.Board
	ledger *ledgertest.Memory
	keeper *keeper.Keeper
	admin  *campaign.Admin
}

func newBench(t *testing.T, url string) *bench {
	t.Helper()
	return benchOn(t, url, connect(t, url))
}

func benchOn(t *testing.T, url string, client redis.UniversalClient) *bench {
	t.Helper()
	b := &bench{url: url, redis: client, ledger: ledgertest.NewMemory()}
	b.board = campaign.NewBoard(b.redis)
	b.keeper = keeper.New(keeper.Config{
		Ledger: b.ledger, Redis: b.redis, Log: slog.New(slog.DiscardHandler),
		Claimer: campaign.NewClaimer(campaign.ClaimerConfig{Redis: b.redis, Timeout: 5 * time.Second}),
	})
	b.admin = campaign.NewAdmin(campaign.AdminConfig{Ledger: b.ledger, Board: b.board, By: "test"})
	b.repair(t)
	return b
}

// each runs a test on miniredis and on a real redis-server.
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

func (b *bench) repair(t *testing.T) {
	t.Helper()
	if err := b.keeper.Repair(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// start opens a campaign; edit may change the request.
func (b *bench) start(t *testing.T, slots, waitlist int64, edit ...func(*campaign.StartRequest)) campaign.Campaign {
	t.Helper()
	r := campaign.StartRequest{Name: "Early bird", Description: "for the first", Discount: 30, Slots: slots, Waitlist: waitlist}
	for _, e := range edit {
		e(&r)
	}
	change, err := b.admin.Start(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if !change.Live {
		t.Fatal("redis did not follow the start")
	}
	return change.Campaign
}

// must fails the test if a change fails or Redis does not follow it.
func must(t *testing.T) func(campaign.Change, error) {
	return func(c campaign.Change, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if !c.Live {
			t.Fatal("redis did not follow the change")
		}
	}
}

// claimer has a time limit that a busy test machine keeps.
func (b *bench) claimer() *campaign.Claimer {
	return campaign.NewClaimer(campaign.ClaimerConfig{Redis: b.redis, Timeout: 5 * time.Second})
}

func (b *bench) claim(t *testing.T, user string) campaign.Outcome {
	t.Helper()
	return b.claimer().Claim(t.Context(), user)
}

func (b *bench) expect(t *testing.T, user string, want campaign.Outcome) {
	t.Helper()
	if got := b.claim(t, user); got != want {
		t.Errorf("claim of %s: %+v, want %+v", user, got, want)
	}
}

func granted(id string, rank int64) campaign.Outcome {
	return campaign.Outcome{State: campaign.StateGranted, CampaignID: id, Rank: rank, Discount: 30}
}

func state(s campaign.State) campaign.Outcome { return campaign.Outcome{State: s} }

// eventually polls until ok, or fails the test.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

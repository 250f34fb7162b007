package plugintest

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/oldcampaign/keeper"
	"github.com/earlybird/earlybird/identity/oldcampaign/ledgertest"
	"github.com/earlybird/earlybird/identity/redisdb"
)

// Campaign is a campaign in a Redis, with its ledger in memory.
type Campaign struct {
	Admin   *campaign.Admin
	Claimer *campaign.Claimer
	Redis   redis.UniversalClient

	keeper *keeper.Keeper
}

// NewCampaign prepares the Redis at url; there is no campaign yet.
func NewCampaign(t testing.TB, url string) *Campaign {
	t.Helper()
	client, err := redisdb.Connect(redisdb.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	log := slog.New(slog.DiscardHandler)
	ledger := ledgertest.NewMemory()
	c := &Campaign{
		Redis:   client,
		Claimer: campaign.NewClaimer(campaign.ClaimerConfig{Redis: client, Timeout: 5 * time.Second, Log: log}),
		Admin:   campaign.NewAdmin(campaign.AdminConfig{Ledger: ledger, Board: campaign.NewBoard(client), By: "test"}),
	}
	c.keeper = keeper.New(keeper.Config{Ledger: ledger, Redis: client, Log: log, Claimer: c.Claimer})
	c.Restore(t)
	return c
}

// Restore brings Redis to where the ledger is.
func (c *Campaign) Restore(t testing.TB) {
	t.Helper()
	if err := c.keeper.Repair(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// Start opens a campaign of 30 percent with this many slots.
func (c *Campaign) Start(t testing.TB, slots int64) {
	t.Helper()
	c.Must(t)(c.Admin.Start(context.Background(), campaign.StartRequest{
		Name: "Early bird", Description: "for the first", Discount: 30, Slots: slots, Waitlist: 10,
	}))
}

// Must fails the test when a change did not succeed or Redis did not follow.
func (c *Campaign) Must(t testing.TB) func(campaign.Change, error) {
	t.Helper()
	return func(change campaign.Change, err error) {
		t.Helper()
		if err != nil || !change.Live {
			t.Fatalf("change of the campaign: live %v, %v", change.Live, err)
		}
	}
}

// Eventually waits until the condition comes true, and returns how long that
// took; see Promptly. The test fails when it takes so long that no machine can be
// that busy.
func Eventually(t testing.TB, what string, condition func() bool) time.Duration {
	t.Helper()
	const limit = 20 * time.Second
	began := time.Now()
	for !condition() {
		if time.Since(began) > limit {
			t.Fatalf("after %v: %s", limit, what)
		}
		time.Sleep(time.Millisecond)
	}
	return time.Since(began)
}

// Promptly fails the test unless most of the changes were seen within a second,
// which is how soon an edge must know of one. A busy machine may be late once.
func Promptly(t testing.TB, took ...time.Duration) {
	t.Helper()
	slices.Sort(took)
	if took[len(took)/2] > time.Second {
		t.Errorf("changes were seen after %v, want a second at most", took)
	}
}

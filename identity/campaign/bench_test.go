package campaign_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/keeper"
	"github.com/earlybird/earlybird/identity/campaign/ledgertest"
)

// BenchmarkClaim measures claims on a real redis-server that keeps nothing on
// disk, beside a script that does nothing.
func BenchmarkClaim(b *testing.B) {
	url := testserver.Redis(b, testserver.WithRedisArgs("--appendonly", "no")).URL()
	client := connect(b, url)
	bare := redis.NewScript("return 1")
	claimer := campaign.NewClaimer(campaign.ClaimerConfig{Redis: client, Timeout: campaign.DefaultClaimTimeout * 40})
	var users atomic.Int64
	for _, clients := range []int{1, 8, 64} {
		for _, c := range []struct {
			name     string
			slots    int64
			waitlist int64
			op       func(ctx context.Context, i int64) error
		}{
			{"bare", 1, 0, func(ctx context.Context, _ int64) error {
				return bare.Run(ctx, client, []string{campaign.KeyCampaign}, "user").Err()
			}},
			{"new", campaign.MaxSlots, campaign.MaxWaitlist, func(ctx context.Context, i int64) error {
				return want(claimer.Claim(ctx, fmt.Sprint("user", i)), campaign.StateGranted, campaign.StateFull)
			}},
			{"granted", 1, 0, func(ctx context.Context, _ int64) error {
				return want(claimer.Claim(ctx, "first"), campaign.StateGranted)
			}},
			{"full", 1, 0, func(ctx context.Context, i int64) error {
				return want(claimer.Claim(ctx, fmt.Sprint("user", i)), campaign.StateFull)
			}},
		} {
			b.Run(fmt.Sprintf("%s/clients=%d", c.name, clients), func(b *testing.B) {
				prepare(b, client, c.slots, c.waitlist)
				claimer.Claim(b.Context(), "first")
				b.ResetTimer()
				var wg sync.WaitGroup
				var left atomic.Int64
				left.Store(int64(b.N))
				for range clients {
					wg.Go(func() {
						for left.Add(-1) >= 0 {
							if err := c.op(b.Context(), users.Add(1)); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
			})
		}
	}
}

func want(out campaign.Outcome, states ...campaign.State) error {
	for _, s := range states {
		if out.State == s {
			return nil
		}
	}
	return fmt.Errorf("claim: %s, want %v", out.State, states)
}

func prepare(b *testing.B, client redis.UniversalClient, slots, waitlist int64) {
	b.Helper()
	ledger := ledgertest.NewMemory()
	if err := client.FlushAll(b.Context()).Err(); err != nil {
		b.Fatal(err)
	}
	if err := ledger.AddVersion(b.Context(), campaign.Campaign{
		ID: "1", Version: 1, Name: "n", Discount: 30, Slots: slots, Waitlist: waitlist, Status: campaign.Active,
	}); err != nil {
		b.Fatal(err)
	}
	if _, err := keeper.New(keeper.Config{Ledger: ledger, Redis: client}).Restore(b.Context()); err != nil {
		b.Fatal(err)
	}
}

package campaign_test

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/oldcampaign/keeper"
)

// Who was granted keeps the discount until the next campaign starts, also when
// that is planned long before. Checked by letting begun answer true.
func TestPlannedCampaign(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		b.start(t, 1, 0)
		b.expect(t, "a", granted("1", 1))
		must(t)(b.admin.End(ctx))
		starts := time.Now().Add(time.Hour)
		b.start(t, 5, 0, func(r *campaign.StartRequest) { r.StartsAt = starts })
		must(t)(b.admin.Extend(ctx, 6))
		p, err := b.admin.Status(ctx)
		if err != nil || p.ID != "2" || p.Status != campaign.Scheduled || p.Remaining != 6 || p.Restoring {
			t.Errorf("status %+v, %v, want campaign 2, scheduled, 6 remaining", p, err)
		}
		promotions := b.promotions()
		for range 2 { // as it is, and after a loss
			b.repair(t)
			b.expect(t, "a", granted("1", 1))
			if p, err := promotions.Promotion(ctx, "a"); err != nil || p.CampaignID != "1" {
				t.Errorf("promotion %+v, %v, want that of campaign 1", p, err)
			}
			b.drain(t)
			b.redis.FlushAll(ctx)
		}
		// The start comes near.
		k := keeper.New(keeper.Config{
			Ledger: b.ledger, Redis: b.redis, Claimer: b.claimer(), Log: slog.New(slog.DiscardHandler),
			Now: func() time.Time { return starts.Add(-time.Second) },
		})
		if err := k.Repair(ctx); err != nil {
			t.Fatal(err)
		}
		b.expect(t, "a", state(campaign.StateNone))
		if s, err := b.board.Snapshot(ctx); err != nil || s.Campaign.ID != "2" || s.Campaign.Slots != 6 {
			t.Errorf("redis has %+v, %v, want campaign 2", s.Campaign, err)
		}
	})
}

// A campaign that was ended before its start takes nothing away.
func TestPlannedAndCalledOff(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.start(t, 1, 0)
		b.expect(t, "a", granted("1", 1))
		must(t)(b.admin.End(t.Context()))
		b.start(t, 5, 0, func(r *campaign.StartRequest) { r.StartsAt = time.Now().Add(time.Hour) })
		must(t)(b.admin.End(t.Context()))
		b.repair(t)
		b.expect(t, "a", granted("1", 1))
		b.start(t, 1, 0)
		b.expect(t, "b", granted("3", 1))
		if _, err := b.promotions().Promotion(t.Context(), "a"); !errors.Is(err, campaign.ErrNoGrant) {
			t.Errorf("promotion of a: %v, want none", err)
		}
	})
}

// One that is ended in the last moment before its start ends in Redis too.
func TestPlannedAndCalledOffLate(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.start(t, 1, 0)
		must(t)(b.admin.End(t.Context()))
		b.start(t, 5, 0, func(r *campaign.StartRequest) { r.StartsAt = time.Now().Add(2 * time.Second) })
		must(t)(b.admin.End(t.Context()))
		b.repair(t)
		s, err := b.board.Snapshot(t.Context())
		if err != nil || s.Campaign.ID != "2" || s.Campaign.Status != campaign.Ended {
			t.Errorf("redis has %+v, %v, want campaign 2, ended", s.Campaign, err)
		}
	})
}

package campaign_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/oldcampaign/ledgertest"
)

// deaf counts the commands that a client is given, notes how long the last one
// may take, and answers none.
type deaf struct {
	asked int
	limit time.Duration
}

func (d *deaf) DialHook(next redis.DialHook) redis.DialHook {
	return next
}

func (d *deaf) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, _ redis.Cmder) error {
		d.asked++
		if deadline, ok := ctx.Deadline(); ok {
			d.limit = time.Until(deadline)
		}
		return errors.New("no answer")
	}
}

func (d *deaf) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// TestExpectSparesADeafRedis: a Redis that hangs delays one login in a second
// by the time limit, not every one, and while it goes on by less.
func TestExpectSparesADeafRedis(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { _ = client.Close() })
	hook := new(deaf)
	client.AddHook(hook)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ledger := ledgertest.NewMemory()
	promotions := campaign.NewPromotions(campaign.PromotionsConfig{
		Ledger: ledger, Board: campaign.NewBoard(client), Timeout: time.Hour, Now: func() time.Time { return now },
	})
	for _, step := range []struct {
		name  string
		after time.Duration
		asks  bool
	}{
		{"the first login finds out", 0, true},
		{"the next does not ask", 0, false},
		{"nor one just before a second has passed", 999 * time.Millisecond, false},
		{"then one asks again", time.Millisecond, true},
	} {
		now = now.Add(step.after)
		before := hook.asked
		if err := promotions.Expect(t.Context(), "u", now); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if asked := hook.asked > before; asked != step.asks {
			t.Errorf("%s: asked redis %v, want %v", step.name, asked, step.asks)
		}
	}

	if hook.limit > time.Second {
		t.Errorf("the one that asks again may wait for %s", hook.limit)
	}

	gone, cancel := context.WithCancel(t.Context())
	cancel()
	now = now.Add(time.Minute)
	_ = promotions.Expect(gone, "u", now) // nobody waits for it
	before := hook.asked
	if err := promotions.Expect(t.Context(), "u", now); err != nil {
		t.Fatal(err)
	}
	if hook.asked == before {
		t.Error("a client that went away silenced redis for the others")
	}
}

package keeper_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/oldcampaign/keeper"
)

// TestAFirstStartIsNoLoss: an empty Redis is worth a warning only when there is
// a campaign that should be in it.
func TestAFirstStartIsNoLoss(t *testing.T) {
	b := newBench(t, "redis://"+miniredis.RunT(t).Addr())
	var log bytes.Buffer
	k := keeper.New(keeper.Config{
		Ledger: b.ledger, Redis: b.redis, Log: slog.New(slog.NewTextHandler(&log, nil)), Now: b.now,
		Claimer: campaign.NewClaimer(campaign.ClaimerConfig{Redis: b.redis}),
	})
	for _, c := range []struct {
		name, level string
		before      func()
	}{
		{"no campaign yet", "level=INFO", func() {}},
		{"a campaign that is lost", "level=WARN", func() { b.start(t, 3, 2) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.before()
			b.redis.FlushAll(t.Context())
			log.Reset()
			if err := k.Repair(t.Context()); err != nil {
				t.Fatal(err)
			}
			line, _, _ := strings.Cut(log.String(), "\n")
			if !strings.Contains(line, c.level) || !strings.Contains(line, "restoring the campaign in redis") {
				t.Errorf("want a line at %s, got %s", c.level, log.String())
			}
		})
	}
}
